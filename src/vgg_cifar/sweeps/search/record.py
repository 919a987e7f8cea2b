"""A study written down beside its runs, for the page that shows it."""

from __future__ import annotations

from contextlib import suppress
from math import isfinite
from typing import TYPE_CHECKING

from vgg_cifar.comparison.search import Search, State, Trial
from vgg_cifar.errors import UserError
from vgg_cifar.sweeps.search.options import named
from vgg_cifar.sweeps.search.searching import Searching
from vgg_cifar.sweeps.search.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STATES: dict[str, State] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}


def record(study: Study, searching: Searching) -> Search:
    """What a study has tried so far, and where its runs are."""
    options = study.options
    return Search(
        study=study.name,
        objectives=options.directions,
        space=study.space.dimensions,
        sampler=named(options.sampler)[0],
        pruner=None if options.pruner is None else named(options.pruner)[0],
        seeds_per_trial=options.seeds_per_trial,
        n_trials=options.n_trials,
        importance=study.importance(),
        trials=[_trial(each, searching) for each in study.trials()],
    )


def _trial(trial: FrozenTrial, searching: Searching) -> Trial:
    state = STATES[trial.state.name]
    jobs = []
    with suppress(UserError):  # of a trial that cannot be run there are none
        jobs = searching.jobs_of(trial.params)
    return Trial(
        number=trial.number,
        state=state,
        values=list(trial.values) if state == "complete" else None,
        params=trial.params,
        intermediate={epoch: value for epoch, value in trial.intermediate_values.items() if isfinite(value)},
        started=trial.datetime_start.isoformat() if trial.datetime_start else None,
        ended=trial.datetime_complete.isoformat() if trial.datetime_complete else None,
        jobs=[job.path.name for job in jobs],
    )
