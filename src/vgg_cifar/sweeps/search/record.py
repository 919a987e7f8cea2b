"""A study written down beside its runs, for the page that shows it."""

from __future__ import annotations

import time
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING

from vgg_cifar.comparison.search import Search, State, Trial
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.process import Ended
from vgg_cifar.sweeps.search.options import named
from vgg_cifar.sweeps.search.searching import Searching

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
            self.write()
        return understood

    def write(self) -> None:
        """Leave `search.json` as the study is now."""
        study, options = self.study, self.study.options
        Search(
            study=study.name,
            objectives=options.directions,
            space=study.space.dimensions,
            sampler=named(options.sampler)[0],
            pruner=None if options.pruner is None else named(options.pruner)[0],
            seeds_per_trial=options.seeds_per_trial,
            n_trials=options.n_trials,
            importance=study.importance(),
            trials=[self._trial(each) for each in study.trials()],
        ).write(study.path)
        self._written = time.monotonic()

    def _trial(self, trial: FrozenTrial) -> Trial:
        state = STATES[trial.state.name]
        has_all = trial.params.keys() >= self.study.space.dimensions.keys()
        return Trial(
            number=trial.number,
            state=state,
            values=list(trial.values) if state == "complete" else None,
            params=trial.params,
            intermediate={epoch: value for epoch, value in trial.intermediate_values.items() if isfinite(value)},
            started=_moment(trial.datetime_start),
            ended=_moment(trial.datetime_complete),
            jobs=[path.name for path in self.folders_of(trial.params)] if has_all else [],
        )


def _moment(local: datetime | None) -> str | None:
    return None if local is None else local.astimezone().isoformat(timespec="seconds")
