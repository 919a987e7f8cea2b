"""What `python src/train.py` is to a sweep, without the training: a run of some milliseconds, of the standard library.

It takes the run's lock, keeps `config.yaml`, `result.json` and its progress as a run does, goes on from there with
`resume=`, and ends with 75 when it is asked to stop. What else it does is told by overrides of its own:

    does=finish         or "raise" (exit 1), "mistake" (exit 2), "vanish" (exit 0, no result), "die" (SIGKILL),
                        "die late" (after its result is written), "stall" (hears no signal)
    epochs=3            how many
    at=1                after how many epochs it does that
    says=TEXT           written to the screen when it does that, a line each for what lies between two |
    gate=FILE           waits before the last epoch until this file exists
    config=FILE         what to write as config.yaml
    ranks=1             processes beside this one, which only wait
    x=0.5               how good it is: val/top1 tends to 1 - (x - 0.3)^2 less a hundredth of the seed, and is in
                        metrics.csv after every epoch
    pause=0             seconds that an epoch takes

`starts.txt` has a line per process: its id, and the epochs done before; `environment.json` the last one's variables.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

INTERRUPTED = 75
stopping: list[int] = []


def stop(number: int, frame: FrameType | None) -> None:
    """Remember that it was asked for."""
    stopping.append(number)


def write(path: Path, content: object) -> None:
    """Replace a file at once."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(content))
    beside.replace(path)


def run(told: dict[str, str]) -> int:
    """The exit code."""
    resumes = "resume" in told
    folder = Path(told["resume" if resumes else "hydra.run.dir"].strip("'"))
    if resumes != (folder / "config.yaml").is_file():
        print("error: hydra.run.dir or resume: should have been the other one")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "told.txt").write_text("\n".join(sys.argv[1:]))
    lock = (folder / ".lock").open("a")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    does, at, epochs = told.get("does", "finish"), int(told.get("at", "1")), int(told.get("epochs", "3"))
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN if does == "stall" else stop)
    progress = folder / "progress.json"
    done = json.loads(progress.read_text()) if progress.is_file() else 0
    with (folder / "starts.txt").open("a") as starts:
        starts.write(f"{os.getpid()} {done}\n")
    write(folder / "environment.json", dict(os.environ))
    for _ in range(int(told.get("ranks", "0"))):
        rank = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "rank.txt").write_text(str(rank.pid))
    says = told.get("says", "").strip("'").replace("|", "\n")
    if does == "mistake":
        print(says)
        print("error: model.weights: there is no such file")
        return 2
    if "config" in told:
        shutil.copy(told["config"], folder / "config.yaml")
    else:
        (folder / "config.yaml").write_text("pretended: true\n")
    result = {"status": "running", "epochs": done, "val/top1": done / 10}
    write(folder / "result.json", result)
    while True:
        if done == at and does in ("raise", "vanish", "die"):
            print(says, flush=True)
            if does == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if does == "raise":
                write(folder / "result.json", result | {"status": "failed", "error": f"epoch {done} cannot be"})
            return int(does == "raise")
        while done == epochs - 1 and "gate" in told and not Path(told["gate"]).exists() and not stopping:
            time.sleep(0.01)
        if stopping:
            write(folder / "result.json", result | {"status": "interrupted"})
            return INTERRUPTED
        if done >= epochs:
            break
        time.sleep(float(told.get("pause", "0")))
        done += 1
        write(progress, done)
        top1 = done / 10
        if "x" in told:
            top1 = (1 - (float(told["x"]) - 0.3) ** 2 - int(told["seed"]) / 100) * (1 - 0.5**done)
            with (folder / "metrics.csv").open("a") as metrics:
                metrics.write(("step,epoch,val/top1\n" if done == 1 else "") + f"{done},{done - 1},{top1}\n")
        result |= {"epochs": done, "val/top1": top1, "train_seconds": float(done)}
        write(folder / "result.json", result)
    write(folder / "result.json", result | {"status": "finished", "total_seconds": 1.5})
    if does == "die late":
        os.kill(os.getpid(), signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(run(dict(word.partition("=")[::2] for word in sys.argv[1:])))
