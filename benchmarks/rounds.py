"""What the benchmarks share: arguments, sides that take turns, tables of medians and spreads, records.

A benchmark imports this before anything of `vgg_cifar`: it puts src/ on the path.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from vgg_cifar import hardware
from vgg_cifar.command_line import key_values
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.options import did_you_mean
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.manifest import git_state, now

SYNTHETIC = ["data=synthetic", "data.test_size=100", "data.val_fraction=0", "logger=csv", "evaluate=false"]
"""What every training run of a benchmark begins with."""
Side = Callable[[], float]


class Arguments:
    """What was typed after a benchmark's name, each `key=value`; `json` is the file of its record.

    Raises:
        UserError: for a key that the benchmark lacks, a value that it cannot use, or a folder that is not there.
    """

    def __init__(self, **defaults: str) -> None:
        self.given = {key: value or "" for key, value in key_values(sys.argv[1:], {**defaults}).items()}
        self.file = Path(self.given["json"]).absolute() if self.given.get("json") else None
        if self.file and not self.file.parent.is_dir():
            raise UserError(f"json: there is no folder {self.file.parent}")

    def count(self, key: str, least: int = 1) -> int:
        """A whole number."""
        if not self.given[key].isdecimal() or int(self.given[key]) < least:
            raise UserError(f"{key}: should be a whole number from {least} up, is {self.given[key]}")
        return int(self.given[key])

    def counts(self, key: str) -> list[int]:
        """Whole numbers from 1 up, with commas between."""
        if not all(each.isdecimal() and int(each) for each in self.given[key].split(",")):
            raise UserError(f"{key}: should be whole numbers from 1 up, like 32,128, is {self.given[key]}")
        return [int(each) for each in self.given[key].split(",")]

    def chosen(self, key: str, known: Collection[str]) -> list[str]:
        """Some of the known words, with commas between."""
        for each in (words := self.given[key].split(",")):
            if each not in known:
                raise UserError(f"{key}: there is no {each}, only {', '.join(known)}{did_you_mean(each, known)}")
        return words


@dataclass(frozen=True)
class Measured:
    """What some sides took or reached, round by round.

    Attributes:
        title: of what, for example "plain, batch 128".
        unit: for example "images/s".
        rounds: a value per round and side.
        against: the sides that every side is divided by, round by round.
    """

    title: str
    unit: str
    rounds: dict[str, list[float]]
    against: list[str] = field(default_factory=list)

    def ratios(self, side: str, reference: str) -> list[float]:
        """`side` over `reference`, of values that were neighbours in time."""
        return [a / b for a, b in zip(self.rounds[side], self.rounds[reference], strict=True)]

    def markdown(self) -> str:
        """A table with a row per side: median, least, most, and the median (least to most) of each ratio."""
        rows = [[f"{self.title}: {self.unit}", "median", "min", "max", *(f"x {each}" for each in self.against)]]
        for side, values in self.rounds.items():
            ratios = [self.ratios(side, each) for each in self.against]
            spread = [f"{median(ratio):.2f} ({min(ratio):.2f} to {max(ratio):.2f})" for ratio in ratios]
            rows.append([side, *(digits(of(values)) for of in (median, min, max)), *spread])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rows.insert(1, ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])])
        lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def digits(value: float) -> str:
    """Three of them, or all before the point."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def take_turns(title: str, unit: str, sides: dict[str, Side], rounds: int, against: Iterable[str] = ()) -> Measured:
    """Measure A B C A B C ..., so that neighbours have the same weather; print each value, then all."""
    measured = Measured(title, unit, {side: [] for side in sides}, list(against))
    for turn in range(rounds):
        for side, measure in sides.items():
            measured.rounds[side].append(measure())
            value = digits(measured.rounds[side][-1])
            print(f"{title}, round {turn + 1} of {rounds}: {side} {value} {unit}", flush=True)
    print(f"\n{measured.markdown()}\n", flush=True)
    return measured


@contextmanager
def trained(*overrides: str, **environment: str) -> Iterator[RunFolder]:
    """Do what a user does: run src/train.py in a process of its own; its folder stays until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(PROJECT / "src/train.py"), *overrides, f"hydra.run.dir={folder}/run"]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"train.py {' '.join(overrides)}: ended with {done.returncode}: {done.stderr[-500:]}")
        yield RunFolder(f"{folder}/run")


def rate(*overrides: str, **environment: str) -> float:
    """Images/s of a run, as its result states them."""
    with trained(*overrides, **environment) as run:
        return float(run.read_result()["images_per_second"])


def device() -> torch.device:
    """Where train.py would compute."""
    return torch.device(hardware.accelerator("auto"))


def about() -> dict[str, Any]:
    """What a reader has to know of a measurement that begins now; says the machine."""
    precision, reason = hardware.precision(device().type)
    found = {
        "command": ["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]], "git": git_state(),
        "start": now(), "torch": torch.__version__, "hardware": hardware.description(), "load": os.getloadavg()[0],
        "precision": precision,
    }  # fmt: skip
    print(f"{machine(found)}; {precision}: {reason}; load before: {found['load']:.1f}", flush=True)
    return found


def machine(record: dict[str, Any]) -> str:
    """The processor that did the work."""
    each = record["hardware"]
    return ", ".join(each["gpus"]) or f"{each['cpu']}, {each['threads']} threads on {each['cores']} cores"


def keep(file: Path | None, record: dict[str, Any], tables: list[Measured]) -> None:
    """Write the record, if it was asked for."""
    if file:
        file.write_text(json.dumps(record | {"tables": [asdict(each) for each in tables]}, indent=1) + "\n")
