"""A study written down beside its runs, for the page that shows it."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vgg_cifar.comparison.search import Search, State, Trial
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.process import Ended
from vgg_cifar.sweeps.search.options import named
from vgg_cifar.sweeps.search.searching import LARGEST, Searching

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SECONDS_BETWEEN_RECORDS = 10
STATES: dict[str, State] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}


class Recorded(Searching):
    """A search that writes down how it stands as it goes on."""

    _written = 0.0

    def ended(self, job: Job, ended: Ended) -> Ended:
        """As for any search."""
        understood = super().ended(job, ended)
        if time.monotonic() - self._written > SECONDS_BETWEEN_RECORDS:
            with self._patience.borne():
                self.write()
        return understood

    def write(self) -> None:
        """Leave `search.json` as the study is now."""
        study, options, folders = self.study, self.study.options, self.folders()
        Search(
            study=study.name,
            objectives=options.directions,
            space=study.space.dimensions,
            sampler=named(options.sampler)[0],
            pruner=None if options.pruner is None else named(options.pruner)[0],
            seeds_per_trial=options.seeds_per_trial,
            n_trials=options.n_trials,
            importance=study.importance(),
            trials=[
                _trial(each, [path.relative_to(study.path) for path in folders(each.params)]) for each in study.trials()
            ],
        ).write(study.path)
        self._written = time.monotonic()


def _trial(trial: FrozenTrial, folders: list[Path]) -> Trial:
    values = [value for value in trial.values or [] if abs(value) < LARGEST]
    state = STATES[trial.state.name]
    if state == "complete" and len(values) < len(trial.values or []):
        state = "failed"  # beyond all measure, as another program may have put it there
    return Trial(
        number=trial.number,
        state=state,
        values=values if state == "complete" else None,
        params=trial.params,
        intermediate={epoch: value for epoch, value in trial.intermediate_values.items() if abs(value) < LARGEST},
        started=_moment(trial.datetime_start),
        ended=_moment(trial.datetime_complete),
        jobs=[path.as_posix() for path in folders],
    )


def _moment(local: datetime | None) -> str | None:
    return None if local is None else local.astimezone().isoformat(timespec="seconds")
