"""How soon a command answers that trains nothing: the help, the configuration, a mistake.

    python benchmarks/start.py [rounds=5] [json=PATH]

The commands take turns; each is a new process, timed from its start to its end.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from vgg_cifar import hardware
from vgg_cifar.command_line import guard, key_values
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.runs.manifest import git_state, now

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


def seconds(typed: str, code: int) -> float:
    """The time a command takes."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, PROJECT / "src/train.py", *typed.split()], capture_output=True, text=True, check=False
    )
    taken = time.perf_counter() - start
    if done.returncode != code:
        raise UserError(f"{typed}: ended with {done.returncode}, not {code}: {done.stderr}")
    return taken


def main() -> None:
    given = key_values(sys.argv[1:], {"rounds": "5", "json": None})
    if not str(given["rounds"]).isdecimal() or not int(str(given["rounds"])):
        raise UserError(f"rounds: should be a whole number from 1 up, is {given['rounds']}")
    about = {
        "command": ["python", "benchmarks/start.py", *sys.argv[1:]], "git": git_state(), "start": now(),
        "hardware": hardware.description(), "load": os.getloadavg()[0],
    }  # fmt: skip
    taken: dict[str, list[float]] = {typed: [] for typed in COMMANDS}
    for typed, code in COMMANDS.items():
        seconds(typed, code)  # the first reads from disk
    for _ in range(int(str(given["rounds"]))):
        for typed, code in COMMANDS.items():
            taken[typed].append(seconds(typed, code))
    table = Table("src/train.py ... (seconds)", box=None, pad_edge=False, header_style="bold")
    for heading in ("median", "min", "max"):
        table.add_column(heading, justify="right")
    for typed, each in taken.items():
        table.add_row(typed, *(f"{of(each):.2f}" for of in (median, min, max)))
    Console(soft_wrap=True).print(table)
    if given["json"]:
        Path(given["json"]).write_text(json.dumps(about | {"seconds": taken}, indent=2) + "\n")


if __name__ == "__main__":
    guard(main)
