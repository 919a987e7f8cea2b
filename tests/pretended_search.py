"""Searches over pretended runs (see `pretend_run.py`), in this process or, as a script, in one that can be killed."""

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from pretended import command
from rich.console import Console

from vgg_cifar import standalone
from vgg_cifar.errors import UserError
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.pool import Pool
from vgg_cifar.sweeps.running import run_jobs
from vgg_cifar.sweeps.search.options import SearchOptions
from vgg_cifar.sweeps.search.searching import Searching
from vgg_cifar.sweeps.search.space import Space
from vgg_cifar.sweeps.search.study import Study
from vgg_cifar.sweeps.slots import Slots
from vgg_cifar.sweeps.sweep import Wanted

SPACE = ["x=interval(0,1)", "epochs=4"]
CONFIG: Any = SimpleNamespace(seed=0, trainer=SimpleNamespace(accelerator="cpu", devices=1, max_epochs=6))


def options(**changed: Any) -> SearchOptions:
    """Of a search, small and impatient."""
    told = {
        "n_trials": 6,
        "objectives": ["val/top1"],
        "seeds_per_trial": 1,
        "sampler": "random",
        "pruner": None,
        "seed": 0,
        "storage": None,
        "heartbeat_seconds": 1,
    }
    return SearchOptions(**(told | changed))


def study(folder: Path, space: list[str] | None = None, name: str = "test", **changed: Any) -> Study:
    """A study in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return Study(name, folder, options(**changed), Space(space or SPACE), {"basis": {"epochs": 4}})


class Plan:
    """Runs that lie in folders of a sweep, named by what they are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def wanted(self, overrides: list[str]) -> Wanted:
        """A run of x=0.99 is a mistake."""
        if "x=0.99" in overrides:
            raise UserError("x: is too large")
        return Wanted(overrides, CONFIG)

    def known(self, wanted: Wanted) -> Job | None:
        """What was put down."""
        job = self._job(wanted)
        return job if job.path.with_suffix(".known").exists() else None

    def jobs(self, wanted: list[Wanted]) -> list[Job]:
        """Each is put down."""
        jobs = [self._job(each) for each in wanted]
        for job in jobs:
            job.path.with_suffix(".known").touch()
        return jobs

    def begun(self) -> list[tuple[Path, list[str]]]:
        """With what each was told."""
        return [(path.parent, path.read_text().splitlines()) for path in self.folder.glob("*/told.txt")]

    def _job(self, wanted: Wanted) -> Job:
        key = hashlib.sha256(" ".join(sorted(wanted.overrides)).encode()).hexdigest()[:12]
        return Job(int(key, 16), key, self.folder / key, wanted.overrides, wanted.config)


class Searched:
    """A search that was run here.

    Attributes:
        code: its exit code.
        lines: what a person saw of it.
        study: as it is afterwards.
        searching: the source of its jobs.
    """

    def __init__(self, folder: Path, space: list[str] | None = None, at_a_time: int = 2, **changed: Any) -> None:
        console = Console(file=io.StringIO(), width=200)
        self.study = study(folder, space, **changed)
        pool = Pool(Slots(gpus=[], threads=2, jobs=at_a_time))
        self.searching = Searching(self.study, Plan(folder), CONFIG, pool.is_elsewhere, console.print)
        self.code = run_jobs("search test", self.searching, pool, console)
        assert isinstance(console.file, io.StringIO)
        self.lines = console.file.getvalue().splitlines()

    def states(self) -> list[str]:
        """Of the trials, in their order."""
        return [trial.state.name for trial in self.study.trials()]


def elsewhere(
    folder: Path, space: list[str], at_a_time: int = 2, environment: dict[str, str] | None = None, **changed: object
) -> subprocess.Popen[str]:
    """A search in a process of its own."""
    words = json.dumps([str(folder), space, at_a_time, changed])
    return subprocess.Popen(
        [sys.executable, __file__, words],
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def runs_in(folder: Path) -> list[Path]:
    """The folders of runs that were started."""
    return sorted(path.parent for path in folder.glob("*/starts.txt"))


def epochs_before(run: Path) -> list[int]:
    """For each process that a run had, the epochs that were done before."""
    return [int(line.split()[1]) for line in (run / "starts.txt").read_text().splitlines()]


def main() -> int:
    """Run a search that was told of in JSON: its folder, space, how many at a time, and what else is changed."""
    folder, space, at_a_time, changed = json.loads(sys.argv[1])
    standalone.command = command
    pool = Pool(Slots([], 2, at_a_time))
    searching = Searching(study(Path(folder), space, **changed), Plan(Path(folder)), CONFIG, pool.is_elsewhere, print)
    return run_jobs("search test", searching, pool, Console(width=200))


if __name__ == "__main__":
    sys.exit(main())
