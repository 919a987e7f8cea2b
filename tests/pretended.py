"""Sweeps of pretended runs (see `pretend_run.py`), in this process or, as a script, in one that can be killed."""

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from rich.console import Console

from vgg_cifar import standalone
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.pool import Pool
from vgg_cifar.sweeps.running import run_jobs
from vgg_cifar.sweeps.slots import Slots
from vgg_cifar.sweeps.source import Listed

PATIENCE = 60
"""Seconds after which what should have happened is said not to have."""


def command(words: list[str]) -> list[str]:
    """What stands for `python src/train.py`."""
    return [sys.executable, "-S", "-E", str(Path(__file__).with_name("pretend_run.py")), *words]


def job(folder: Path, number: int, *told: str, epochs: int = 3, **trainer: Any) -> Job:
    """A job of a sweep in a folder, told what to do; its configuration has only what running it looks at."""
    trainer = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "max_epochs": epochs} | trainer
    config: Any = SimpleNamespace(trainer=SimpleNamespace(**trainer))
    return Job(number, f"{number:016x}", folder / str(number), [*told, f"epochs={epochs}", f"seed={number}"], config)


class Told:
    """A sweep that was run here.

    Attributes:
        code: its exit code.
        lines: what a person saw of it, times left out.
    """

    def __init__(self, jobs: list[Job], at_a_time: int = 2, pool: Pool | None = None, **options: Any) -> None:
        console = Console(file=io.StringIO(), width=80)
        pool = pool or Pool(Slots(gpus=[], threads=2, jobs=at_a_time))
        self.code = run_jobs("sweep test", Listed(jobs), pool, console, **options)
        assert pool.running == []
        assert isinstance(console.file, io.StringIO)
        self.lines = re.sub(r"; about .* left|\d+ s\b", "", console.file.getvalue()).splitlines()

    def line(self, begin: str) -> str:
        """The only line that begins so."""
        found = [line for line in self.lines if line.startswith(begin)]
        assert len(found) == 1, (begin, self.lines)
        return found[0]


class Elsewhere:
    """A sweep that another process runs."""

    def __init__(self, folder: Path, *told: list[str], at_a_time: int = 2) -> None:
        words = json.dumps([str(folder), at_a_time, told])
        self.process = subprocess.Popen(
            [sys.executable, __file__, words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def kill(self) -> None:
        """With -9."""
        self.process.kill()
        self.process.communicate()

    def ended(self) -> tuple[int, str]:
        """Wait for the exit code and what it said."""
        said, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


def starts(of: Job) -> list[int]:
    """For each process that a job had, the epochs that were done before."""
    return [done for _, done in _starts(of)]


def pids(of: Job) -> list[int]:
    """The processes that a job had."""
    return [pid for pid, _ in _starts(of)]


def _starts(of: Job) -> list[tuple[int, int]]:
    path = of.path / "starts.txt"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    pairs = [line.split() for line in lines if line.endswith("\n")]
    return [(int(pid), int(done)) for pid, done in pairs]


def is_alive(pid: int) -> bool:
    """Whether a process runs, and does not only wait to be reaped."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # just gone, or no /proc
        return not Path("/proc/self").exists()


def wait_until(condition: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Let others work until something is so, for some seconds at most."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never was so"
        time.sleep(0.01)


def main() -> int:
    """Run a sweep that was told of in JSON: its folder, how many at a time, what each job is told."""
    folder, at_a_time, told = json.loads(sys.argv[1])
    standalone.command = command
    jobs = [job(Path(folder), number, *words) for number, words in enumerate(told)]
    return run_jobs("sweep test", Listed(jobs), Pool(Slots([], 2, at_a_time)), Console())


if __name__ == "__main__":
    sys.exit(main())
