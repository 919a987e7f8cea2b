"""A process that has loaded everything and trained nothing: it forks a run in a moment, and can kill it at any call.

Torch's autograd cannot be forked once it was used, so the tests themselves cannot do this. Jobs come as lines of JSON
on standard input: `typed`, what would be typed after `python src/train.py`; `log`, a file for what the run says; `at`,
the number of the Python call, counted from the start of the run, in which it gets the signal `number`, or null. Each is
answered by a line: `code`, the exit code, negative for a signal, and `calls`, how many the run made, 0 if it died.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


from vgg_cifar import ddp, training
from vgg_cifar.command_line import complain, prepare, quiet, register_resolvers
from vgg_cifar.composition import compose_and_check
from vgg_cifar.errors import UserError
from vgg_cifar.runs import tensorboard
from vgg_cifar.runs.folder import RunFolder

LOADED = (ddp, tensorboard)


def run(job: dict[str, Any], calls: int) -> int:
    """What `python src/train.py` does, in this process; writes the number of calls to a file descriptor."""
    count = 0

    def watch(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event == "call":
            count += 1
            if count == job["at"]:
                os.kill(os.getpid(), job["number"])

    try:
        composed = compose_and_check(prepare(job["typed"]) or [])
        sys.setprofile(watch)
        code = training.run(composed.config, RunFolder(composed.run_dir), composed.hydra["overrides"]["task"])
        sys.setprofile(None)
    except UserError as error:
        code = complain(error)
    os.write(calls, str(count).encode())
    return code


def main() -> None:
    """Serve until standard input ends."""
    quiet()
    register_resolvers()
    for line in sys.stdin:
        job = json.loads(line)
        reads, writes = os.pipe()
        pid = os.fork()
        if pid == 0:
            log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = 1
            try:
                code = run(job, writes)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        os.close(writes)
        _, status = os.waitpid(pid, 0)
        with os.fdopen(reads) as calls:
            print(json.dumps({"code": os.waitstatus_to_exitcode(status), "calls": int(calls.read() or 0)}), flush=True)


if __name__ == "__main__":
    main()
