"""What a search came to: which trials are best, and which runs they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vgg_cifar.comparison.runs import Run, Sweep
from vgg_cifar.comparison.search import Search, Trial
from vgg_cifar.errors import UserError

PRUNED = "pruned"
"""What a run is that its search has stopped, since others were better at that time."""
INTERRUPTED = "interrupted"
MOST_LEADERS = 10


def searches(sweeps: Sequence[Sweep]) -> tuple[dict[Path, Search], list[str]]:
    """The searches among some sweeps, by their folders.

    Returns:
        Also a line for each whose file cannot be read.
    """
    found: dict[Path, Search] = {}
    faults = []
    for sweep in sweeps:
        try:
            search = Search.read(sweep.folder)
        except UserError as error:
            faults.append(f"Nothing is said of a search: {str(error).replace(f'{sweep.folder}/', '')}")
            continue
        if search is not None:
            found[sweep.folder] = search
    return found, faults


def told_apart(runs: Sequence[Run], searched: Mapping[Path, Search]) -> list[Run]:
    """The runs, where those that a search has stopped are called pruned; of themselves they were interrupted."""
    stopped = {
        folder / job
        for folder, search in searched.items()
        for trial in search.trials
        if trial.state == PRUNED
        for job in trial.jobs
    }
    return [
        replace(run, status=PRUNED) if run.status == INTERRUPTED and run.folder.path in stopped else run for run in runs
    ]


def runs_of(search: Search, folder: Path, runs: Sequence[Run]) -> dict[int, list[Run]]:
    """The runs of each trial, by its number; without those that are not here."""
    here = {run.folder.path: run for run in runs}
    return {trial.number: [here[folder / job] for job in trial.jobs if folder / job in here] for trial in search.trials}


def states(search: Search) -> dict[str, int]:
    """How many trials are complete, pruned, ..., the most frequent first."""
    return dict(Counter(trial.state for trial in search.trials).most_common())


def goodness(search: Search, trial: Trial, place: int = 0) -> float:
    """An objective of a complete trial, turned so that more is better."""
    assert trial.values is not None
    return trial.values[place] * (1 if list(search.objectives.values())[place] == "maximize" else -1)


def complete(search: Search) -> list[Trial]:
    """The complete trials in the order of their numbers."""
    return sorted(
        (trial for trial in search.trials if trial.state == "complete" and trial.values is not None),
        key=lambda trial: trial.number,
    )


def best_first(search: Search) -> list[Trial]:
    """The complete trials by the first objective; of equals, by the others."""
    places = range(len(search.objectives))
    return sorted(complete(search), key=lambda trial: [-goodness(search, trial, place) for place in places])


def improvements(search: Search, place: int = 0) -> list[Trial]:
    """The complete trials that were better than all before them, in their order."""
    found: list[Trial] = []
    for trial in complete(search):
        if not found or goodness(search, trial, place) > goodness(search, found[-1], place):
            found.append(trial)
    return found


def front(search: Search) -> list[Trial]:
    """The complete trials that no other one beats in one of the first two objectives without losing in the other.

    The best of the first objective comes first.
    """
    found: list[Trial] = []
    for trial in sorted(complete(search), key=lambda trial: (-goodness(search, trial), -goodness(search, trial, 1))):
        if not found or goodness(search, trial, 1) > goodness(search, found[-1], 1):
            found.append(trial)
    return found


def leaders(search: Search) -> list[Trial]:
    """The trials to choose from: the front of two objectives, of one the first few."""
    return front(search) if len(search.objectives) > 1 else best_first(search)[:MOST_LEADERS]
