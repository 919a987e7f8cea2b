"""How soon a command answers: one that trains nothing, and a training's first step.

    python benchmarks/startup.py [rounds=5] [json=PATH]

The commands take turns; each is a new process, timed from its start to its end. The one that is timed to its first
optimizer step ends there. What a run costs beyond its training is the whole of a tiny one less its `train_seconds`.
"""

import subprocess
import sys
import tempfile
import time
from functools import partial

from rounds import SYNTHETIC, Arguments, Side, about, keep, take_turns, trained
from vgg_cifar.command_line import guard
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError

SCRIPT = str(PROJECT / "src/train.py")
COMMANDS = {
    "--help": 0,
    "--cfg job": 0,
    "--cfg job experiment=baseline optimizer.lr=0.2": 0,
    "optimizer.lr=fast": 2,
    "+trainer.max_epoch=3": 2,
    "optimizer=sdg": 2,
    "-m optimizer.lr=0.1,0.2,fast": 2,
    "optimizer=custom optimizer._target_=torch.load": 2,
}
"""What is typed after `python src/train.py`, and the exit code it has to end with. The last one imports torch."""
TINY = [*SYNTHETIC, "data.train_size=128", "data.batch_size=32", "model.width=0.125", "trainer.max_epochs=1"]
UNTIL_FIRST_STEP = """
import os, runpy, sys
from torch.accelerator import is_available, synchronize
from torch.optim.optimizer import register_optimizer_step_post_hook

def leave(*_):
    if is_available():
        synchronize()
    os._exit(0)

register_optimizer_step_post_hook(leave)
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
sys.exit("no optimizer step was taken")
"""
"""A program that runs the script it is given up to there."""


def seconds(command: list[str], code: int = 0) -> float:
    """The time that Python takes for a command.

    Raises:
        UserError: if it ends with another exit code.
    """
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode != code:
        raise UserError(f"{' '.join(command)}: ended with {done.returncode}, not {code}: {done.stderr}")
    return taken


def to_first_step() -> float:
    """From typing a tiny training to its first optimizer step, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        return seconds(["-c", UNTIL_FIRST_STEP, SCRIPT, *TINY, f"hydra.run.dir={folder}/run"])


def beyond_training() -> float:
    """What a tiny training takes from its start to its end and not in its steps, in seconds."""
    start = time.perf_counter()
    with trained(*TINY) as run:
        return time.perf_counter() - start - float(run.read_result()["train_seconds"])


def main() -> None:
    given = Arguments(rounds="5", json="")
    rounds = given.count("rounds")
    answers: dict[str, Side] = {
        typed: partial(seconds, [SCRIPT, *typed.split()], code) for typed, code in COMMANDS.items()
    }
    trainings: dict[str, Side] = {"to the first optimizer step": to_first_step, "beyond its steps": beyond_training}
    record, tables = about(), []
    for title, sides in {"src/train.py ...": answers, "a tiny training": trainings}.items():
        for measure in sides.values():
            measure()  # the first reads from disk
        tables.append(take_turns(title, "seconds", sides, rounds))
        keep(given.file, record, tables)


if __name__ == "__main__":
    guard(main, __doc__)
