"""What many runs, and many ranks, ask of a machine: the measured part of docs/scaling.md.

    python benchmarks/scale.py [rounds=3] [runs=1000] [json=PATH]

Bytes of a gradient, a checkpoint and a run's folder, of VGG16-BN with one layer behind its convolutions (plain), with
three of 512 (default) and of 4096 (original); what the job of a sweep costs before it trains; what it takes to look
at a thousand finished runs; and an all-reduce of the plain one's gradient between two processes through this machine's
loopback interface. Some minutes on two cores.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
import yaml

from rounds import SYNTHETIC, Arguments, Side, about, keep, take_turns, trained
from vgg_cifar.command_line import guard, register_resolvers
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import Config
from vgg_cifar.data.options import PROJECT
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder

HEADS = {"plain": ["model.hidden=[]", "dropout=none"], "default": [], "original": ["model=vgg16_bn_original"]}
SHORT = [*SYNTHETIC, "data.train_size=64", "data.batch_size=32", "trainer.max_epochs=2", "logger=tensorboard"]
TINY = [*SHORT, "model.width=0.125"]
ALL_REDUCE = """
import json, os, sys, time
import torch
from torch import distributed

rank, numbers, rounds = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
os.environ["GLOO_SOCKET_IFNAME"] = "lo"
distributed.init_process_group("gloo", init_method=f"file://{sys.argv[4]}", rank=rank, world_size=2)
torch.set_num_threads(1)
gradient, taken = torch.ones(numbers), []
for _ in range(rounds + 2):
    distributed.barrier()
    start = time.perf_counter()
    distributed.all_reduce(gradient)
    taken.append(1000 * (time.perf_counter() - start))
if rank == 0:
    print(json.dumps(taken[2:]))
distributed.destroy_process_group()
"""
"""A program that adds up a gradient with another of its kind, and prints the milliseconds of each time."""


def megabytes(*files: Path) -> float:
    return sum(file.stat().st_size for file in files) / 1e6


def numbers(config: Config) -> int:
    """Parameters, and with them the numbers of a gradient."""
    with torch.device("meta"):
        network = config.model.build(100, config.dropout)
    return sum(parameter.numel() for parameter in network.parameters())


def sizes() -> dict[str, Side]:
    """What lies on the disk, and crosses the network at each step, in megabytes."""
    sides: dict[str, Side] = {}
    for name, head in HEADS.items():
        config = compose_and_check([*SHORT, *head]).config
        with trained(*SHORT, *head, "averaging=ema") as run:
            averaged = megabytes(run.checkpoint("last"))
        with trained(*SHORT, *head) as run:
            found = {
                "gradient, float32": numbers(config) * 4 / 1e6,
                "last.ckpt, SGD": megabytes(run.checkpoint("last")),
                "last.ckpt, SGD and averaging=ema": averaged,
                "all else in the folder": megabytes(
                    *(path for path in run.path.rglob("*") if path.is_file() and path.parent != run.checkpoints)
                ),
            }
        sides |= {f"{name}: {what}": partial(float, size) for what, size in found.items()}
    return sides


def files() -> dict[str, Side]:
    """How many there are in a run's folder, in all and of the checkpoints."""
    with trained(*TINY) as run:
        found = [path for path in run.path.rglob("*") if path.is_file()]
        counts = len(found), sum(path.parent == run.checkpoints for path in found)
    return {"in its folder": partial(float, counts[0]), "of them checkpoints": partial(float, counts[1])}


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def writing_and_reading() -> dict[str, Side]:
    """A checkpoint of the default network, flushed to the local disk with its checksum, and read with it."""
    with trained(*SHORT) as run:
        content = checkpoints.read(run.checkpoint("last"))

    def in_a_folder(work: Callable[[Path], object], before: Callable[[Path], object]) -> float:
        with tempfile.TemporaryDirectory(dir=PROJECT) as folder:
            before(Path(folder) / "last.ckpt")
            return milliseconds(lambda: work(Path(folder) / "last.ckpt"))

    write = partial(checkpoints.write, content)
    return {
        "written": lambda: in_a_folder(write, lambda _: None),
        "read": lambda: in_a_folder(checkpoints.read, write),
    }


def imported() -> float:
    """How many files Python opens to import all that a training needs."""
    code = "import sys, vgg_cifar.training; print(sum(1 for m in sys.modules.values() if getattr(m, '__file__', None)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT / "src", capture_output=True, text=True)
    return float(done.stdout)


def python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT / "src")


@contextmanager
def copies(count: int) -> Iterator[list[RunFolder]]:
    """A tiny finished run many times, without its checkpoints, each time with another seed."""
    with trained(*TINY) as run, tempfile.TemporaryDirectory() as folder:
        config = run.read_config()
        kept = [path for path in run.path.iterdir() if path.is_file()]
        made = [RunFolder(f"{folder}/{number}") for number in range(count)]
        for seed, copy in enumerate(made):
            copy.path.mkdir()
            for path in kept:
                (copy.path / path.name).write_bytes(path.read_bytes())
            copy.config.write_text(yaml.safe_dump(config | {"seed": seed}))
        yield made


def report(runs: list[RunFolder]) -> None:
    subprocess.run(
        [sys.executable, str(PROJECT / "src/report.py"), f"runs={runs[0].path.parent}"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def all_reduce(count: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds, and gigabits each way in a second, of a gradient of so many numbers."""
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            subprocess.Popen(
                [sys.executable, "-c", ALL_REDUCE, str(rank), str(count), str(rounds), f"{folder}/meeting"],
                stdout=subprocess.PIPE, text=True,
            )
            for rank in range(2)
        ]  # fmt: skip
        taken: list[float] = json.loads(ranks[0].communicate()[0])
        ranks[1].communicate()
    return {"milliseconds": taken, "Gbit/s each way": [count * 32 / each / 1e6 for each in taken]}


def main() -> None:
    given = Arguments(rounds="3", runs="1000", json="")
    rounds, count = given.count("rounds"), given.count("runs")
    register_resolvers()
    record, tables = about(), []

    def measure(title: str, unit: str, sides: dict[str, Side], times: int = rounds) -> None:
        tables.append(take_turns(title, unit, sides, times))
        keep(given.file, record, tables)

    measure("VGG16-BN, 100 classes", "MB", sizes(), 1)
    measure("a run", "files", {**files(), "modules that its process imports": imported}, 1)
    job = ["optimizer.lr=0.2", "seed=1"]
    measure(
        "before a job trains",
        "ms",
        {
            "compose and check its options": lambda: milliseconds(lambda: compose_and_check(job)),
            "a process that imports nothing": lambda: milliseconds(lambda: python("")),
            "a process that imports torch": lambda: milliseconds(lambda: python("import torch")),
            "a process that imports vgg_cifar.training": lambda: milliseconds(
                lambda: python("import vgg_cifar.training")
            ),
        },
    )
    measure("a checkpoint of the default network, on a local disk", "ms", writing_and_reading())
    with copies(count) as runs:
        measure(
            f"{count:,} finished runs, on a local disk",
            "ms",
            {
                "read each result.json": lambda: milliseconds(lambda: [run.read_result() for run in runs]),
                "read each metrics.csv": lambda: milliseconds(lambda: [run.read_metrics() for run in runs]),
                "read each config.yaml": lambda: milliseconds(lambda: [run.read_config() for run in runs]),
                "look whether each is in use": lambda: milliseconds(lambda: [run.in_use() for run in runs]),
                "src/report.py": lambda: milliseconds(lambda: report(runs)),
            },
        )
    gradient = numbers(compose_and_check(HEADS["plain"]).config)
    turns = {name: iter(values) for name, values in all_reduce(gradient, 5 * rounds).items()}
    title = f"all-reduce of {4 * gradient / 1e6:.0f} MB, two processes, gloo over loopback"
    measure(title, "ms, Gbit/s", {name: partial(next, values) for name, values in turns.items()}, 5 * rounds)


if __name__ == "__main__":
    guard(main, __doc__)
