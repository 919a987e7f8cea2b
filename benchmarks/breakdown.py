"""Where does the time of a training step go?

    python benchmarks/breakdown.py [rounds=3] [batch_size=128] [width=1] [json=PATH]

Twenty batches of train.py on generated images with `debug=profile`, a process per round: the parts of Lightning's loop,
and the operators that the device was busy with, from the trace. On a GPU that is the time of their kernels and copies,
on a CPU the time in them and not in operators they call. While nothing runs the device waits for Python, more so than
without the profiler, which waits for the device at each border between parts. A GPU's batches are of 1024.
"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from rounds import SYNTHETIC, Arguments, Measured, about, device, keep, trained
from vgg_cifar.command_line import guard
from vgg_cifar.errors import UserError

BATCHES = 20
SHOWN = 15
PARTS = ("data wait", "step", "logging and callbacks")
LINE = re.compile(r"Of ([\d.]+) ms a batch: " + ", ".join(f"{part} ([\\d.]+)%" for part in PARTS))
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
Event = dict[str, Any]


def parts(log: str) -> dict[str, float]:
    """Milliseconds a batch of each part of the loop, from the line that the profiler logs."""
    found = LINE.search(log)
    assert found, "the run was long enough to be profiled"
    total, *shares = map(float, found.groups())
    return {part: total * share / 100 for part, share in zip(PARTS, shares, strict=True)}


def operators(trace: Path, *, gpu: bool) -> dict[str, float]:
    """Milliseconds a batch by the operator that the device worked for, and those in which nothing ran.

    Raises:
        UserError: if torch's profiler saw nothing of the GPU.
    """
    with gzip.open(trace, "rt") as file:
        events = [each for each in json.load(file)["traceEvents"] if each["ph"] == "X" and "ts" in each]
    called = [each for each in events if each["cat"] == "cpu_op"]
    work = [each for each in events if each["cat"] in ON_DEVICE] if gpu else called
    if not work:
        raise UserError("profile: the trace has no kernels; torch's profiler may not be allowed to watch this GPU")
    spent: Counter[str] = Counter()
    if gpu:
        names = {each["args"]["External id"]: each["name"] for each in called}
        for each in work:
            spent[names.get(each["args"].get("External id"), each["name"])] += each["dur"]
    else:
        for _, of_thread in groupby(sorted(called, key=thread), key=thread):
            spent.update(own(of_thread))
    window = max(map(end, called + work)) - min(each["ts"] for each in called + work)
    spent["(nothing runs)"] = window - union(work)
    return {name: microseconds / 1000 / BATCHES for name, microseconds in spent.items()}


def thread(event: Event) -> int:
    return int(event["tid"])


def end(event: Event) -> float:
    return float(event["ts"] + event["dur"])


def own(events: Iterable[Event]) -> Counter[str]:
    """Microseconds by name within the events of a thread, without those of the events inside them."""
    spent: Counter[str] = Counter()
    around: list[Event] = []
    for each in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        while around and end(around[-1]) <= each["ts"]:
            around.pop()
        if around:
            spent[around[-1]["name"]] -= each["dur"]
        spent[each["name"]] += each["dur"]
        around.append(each)
    return spent


def union(events: Iterable[Event]) -> float:
    """Microseconds in which at least one of the events was going on."""
    covered, until = 0.0, 0.0
    for each in sorted(events, key=lambda event: float(event["ts"])):
        covered += max(0.0, end(each) - max(until, each["ts"]))
        until = max(until, end(each))
    return covered


def table(title: str, rounds: list[dict[str, float]]) -> Measured:
    """The largest entries, those of the rest as one."""
    names = {name for each in rounds for name in each}
    values = {name: [each.get(name, 0.0) for each in rounds] for name in names}
    ranked = sorted(values, key=lambda name: -median(values[name]))
    shown = {name: values[name] for name in ranked[:SHOWN]}
    if rest := ranked[SHOWN:]:
        shown[f"{len(rest)} others"] = [sum(each) for each in zip(*(values[name] for name in rest), strict=True)]
    return Measured(title, "ms a batch", shown)


def main() -> None:
    gpu = device().type == "cuda"
    given = Arguments(rounds="3", batch_size="1024" if gpu else "128", width="1", json="")
    rounds, size, width = given.count("rounds"), given.count("batch_size"), given.given["width"]
    record = about()
    found = []
    for turn in range(rounds):
        with trained(
            *SYNTHETIC, "debug=profile", f"data.batch_size={size}", f"data.train_size={30 * size}",
            f"model.width={width}",
        ) as run:  # fmt: skip
            found.append((parts((run.path / "train.log").read_text()), operators(run.trace, gpu=gpu)))
        print(f"round {turn + 1} of {rounds}: {sum(found[-1][0].values()):.1f} ms a batch", flush=True)
    by_part, by_operator = zip(*found, strict=True)
    tables = [table(f"part of the loop, width {width}, batch {size}", [*by_part]), table("operator", [*by_operator])]
    for each in tables:
        print(f"\n{each.markdown()}")
    keep(given.file, record, tables)


if __name__ == "__main__":
    guard(main, __doc__)
