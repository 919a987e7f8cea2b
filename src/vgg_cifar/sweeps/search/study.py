"""A study of Optuna's: which trials there are, who has them, and what came of them."""

from __future__ import annotations

import hashlib
import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgg_cifar.sweeps.search import choices
from vgg_cifar.sweeps.search.identity import refuse_another
from vgg_cifar.sweeps.search.options import SearchOptions
from vgg_cifar.sweeps.search.space import Space
from vgg_cifar.sweeps.search.storage import BEATS_OF_GRACE, opened, reached
from vgg_cifar.sweeps.sweep import SEARCH_MARK

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

OWNER, SURPLUS, ERROR = "owner", "surplus", "error"
"""Attributes of a trial: the folder whose search has it; that it was one too many; why it came to nothing."""


@dataclass(frozen=True)
class Standing:
    """How a study stands.

    Attributes:
        taken: trials that ended or are run by somebody; those that were taken from a dead machine count once.
        running: those of them that are run by somebody.
        pruned: those of them that were ended early.
        best: number and value of the best one, where there is one objective.
    """

    taken: int
    running: tuple[int, ...]
    pruned: int
    best: tuple[int, float] | None = None


@dataclass
class Study:
    """Trials of a search that this process and others share.

    Whatever it is asked raises a RunError while the database cannot be reached.

    Args:
        name: of the study.
        path: the sweep's folder.
        options: of the search.
        space: what is searched.
        made_of: what else decides the values: fixed options, versions; by name. A study of another kind is refused.

    Raises:
        UserError: if the study is another one, or its storage cannot be opened.
    """

    name: str
    path: Path
    options: SearchOptions
    space: Space
    made_of: Mapping[str, Any]
    _mine: dict[int, Trial] = field(default_factory=dict)
    _given_a_beat: set[int] = field(default_factory=set)
    _beaten: float = 0.0

    def __post_init__(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._storage, self._study = opened(self.name, self.options, self.path)
        mine = {
            "objectives": self.options.directions,
            "seeds_per_trial": self.options.seeds_per_trial,
            "space": {key: each.model_dump() for key, each in self.space.dimensions.items()},
        }
        with reached():
            refuse_another(self._study, mine | dict(self.made_of))
        self._folder = _identity(self.path)
        self._study.sampler = self._sampler()

    def standing(self) -> Standing:
        """How it stands now."""
        from optuna.trial import TrialState

        trials = self.trials()
        taken = [each for each in trials if each.state != TrialState.WAITING]
        best = None
        if len(self.options.objectives) == 1:
            sign = -1 if self.options.directions[self.options.objectives[0]] == "minimize" else 1
            complete = [each for each in trials if each.state == TrialState.COMPLETE]
            first = max(complete, key=lambda each: (sign * (each.value or 0.0), -each.number), default=None)
            best = (first.number, first.value or 0.0) if first is not None else None
        return Standing(
            taken=len(taken),
            running=tuple(each.number for each in taken if each.state == TrialState.RUNNING),
            pruned=sum(each.state == TrialState.PRUNED for each in taken),
            best=best,
        )

    def ask(self) -> int | None:
        """Take one more trial: one that a dead machine left, or a new one; None if there are enough."""
        with reached():
            if self.standing().taken >= self.options.n_trials:
                return None
            if self.options.seed is not None:
                self._study.sampler = self._sampler()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that heartbeats are the caller's own affair
                trial = self._study.ask()
            self._storage.record_heartbeat(trial._trial_id)
            return trial.number if not self._is_one_too_many(trial) and self._take(trial) else None

    def may_be_left_here(self, number: int) -> bool:
        """Whether a trial that runs belongs to this folder, so that only a process of this folder can have it."""
        if self.options.storage is None:
            return True
        with reached():
            return self._found(number).user_attrs.get(OWNER) == self._folder

    def adopt(self, number: int) -> bool:
        """Take a trial that a process which is gone left running; False if another has ended it since."""
        from optuna import Trial
        from optuna.trial import TrialState

        with reached():
            found = self._found(number)
            self._storage.record_heartbeat(found._trial_id)
            if self._storage.get_trial(found._trial_id).state != TrialState.RUNNING:
                return False
            return self._take(Trial(self._study, found._trial_id))

    def parameters(self, number: int) -> dict[str, Any] | None:
        """The values of a trial by dimension; None where it has not all of them yet."""
        with reached():
            found = self._found(number)
        return dict(found.params) if found.params.keys() >= self.space.dimensions.keys() else None

    def report(self, number: int, values: Mapping[int, float], last: int) -> str | None:
        """Tell what a trial's run has come to.

        Args:
            number: of the trial.
            values: of the objective, by epoch from 1.
            last: the run's last epoch, after which there is nothing left to save.

        Returns:
            Why the run is not worth going on with, if it is not.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        trial = self._mine[number]
        with reached():
            known = self._storage.get_trial(trial._trial_id).intermediate_values
            new = sorted(values.keys() - known.keys())
            try:
                for epoch in new or sorted(values)[-1:]:
                    if epoch in new:
                        trial.report(values[epoch], epoch)
                    if epoch < last and trial.should_prune():
                        return f"behind the others after {epoch} epoch{'s' if epoch > 1 else ''}"
            except UpdateFinishedTrialError:
                return "another machine took it over"
            return None

    def complete(self, number: int, values: list[float]) -> None:
        """A trial has come to an end, with these values of the objectives."""
        self._tell(number, "COMPLETE", values)

    def prune(self, number: int) -> None:
        """A trial was ended early."""
        self._tell(number, "PRUNED", None)

    def fail(self, number: int, reason: str) -> None:
        """A trial came to nothing."""
        from optuna.exceptions import UpdateFinishedTrialError

        with reached(), suppress(UpdateFinishedTrialError, KeyError):
            self._mine[number].set_user_attr(ERROR, reason)
        self._tell(number, "FAIL", None)

    def leave(self, number: int) -> None:
        """A trial is not run here any more, and nothing is said of it."""
        self._mine.pop(number, None)

    def beat(self) -> None:
        """Say that this process's trials are alive."""
        now = time.monotonic()
        if now - self._beaten > self.options.heartbeat_seconds / 2:
            with reached():
                for trial in self._mine.values():
                    self._storage.record_heartbeat(trial._trial_id)
            self._beaten = now

    def give_up_silent_ones(self) -> None:
        """Let anybody take the trials of machines that were silent for too long."""
        from optuna.storages import fail_stale_trials

        if self.options.storage is None:
            return  # all are of this folder, where it is seen at once whether anybody has them
        self.beat()
        grace = timedelta(seconds=BEATS_OF_GRACE * self.options.heartbeat_seconds)
        with reached(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for each in self.trials():
                is_owned = each.state.name != "RUNNING" or OWNER in each.user_attrs or each.number in self._given_a_beat
                if not is_owned and datetime.now() - (each.datetime_start or datetime.now()) > grace:
                    self._given_a_beat.add(each.number)  # Optuna misses none that died before its first one
                    self._storage.record_heartbeat(each._trial_id)
            fail_stale_trials(self._study)

    def trials(self) -> list[FrozenTrial]:
        """All, without those that were taken from a dead machine and began anew under another number."""
        with reached():
            trials = self._study.get_trials(deepcopy=False)
        again = {number for each in trials for number in each.system_attrs.get("retry_history", ())}
        return [each for each in trials if each.number not in again and SURPLUS not in each.user_attrs]

    def importance(self) -> dict[str, dict[str, float]]:
        """Each objective's share that each dimension explains (PED-ANOVA); empty where there are too few trials."""
        from optuna.importance import get_param_importances
        from optuna.trial import TrialState

        complete = [each.values for each in self.trials() if each.state == TrialState.COMPLETE]
        shares = {}
        with reached(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for place, name in enumerate(self.options.objectives):
                if len(complete) >= 4 and len({values[place] for values in complete}) > 1:
                    shares[name] = dict(get_param_importances(self._study, target=_value_at(place)))
        return shares

    def _found(self, number: int) -> FrozenTrial:
        (found,) = [each for each in self._study.get_trials(deepcopy=False) if each.number == number]
        return found

    def _take(self, trial: Trial) -> bool:
        """Whether it can be run: a trial that another program put into the study may lie outside the space."""
        trial.set_user_attr(OWNER, self._folder)
        self._mine[trial.number] = trial
        try:
            for key, distribution in self.space.distributions().items():
                trial._suggest(key, distribution)
        except ValueError as error:
            self.fail(trial.number, str(error))
            return False
        return True

    def _tell(self, number: int, state: str, values: list[float] | None) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        trial = self._mine.get(number)
        if trial is None:
            return
        # Another machine took it for dead; or a sampler that knows no more points would stop a loop of Optuna's own.
        with reached(), suppress(UpdateFinishedTrialError, RuntimeError):
            self._study.tell(trial, values, TrialState[state], skip_if_finished=True)
        self._mine.pop(number)

    def _is_one_too_many(self, trial: Trial) -> bool:
        """Whether others took the last ones at the same moment; then this one is given back as if it never was."""
        from optuna.trial import TrialState

        taken = sorted(each.number for each in self.trials() if each.state != TrialState.WAITING)
        if trial.number not in taken[self.options.n_trials :]:
            return False
        trial.set_user_attr(SURPLUS, True)
        with suppress(RuntimeError):
            self._study.tell(trial, state=TrialState.FAIL)
        return True

    def _sampler(self) -> BaseSampler:
        """One whose draws follow from the seed and the trials there are; in a shared study each folder has its own."""
        seed = self.options.seed
        if seed is not None and not choices.is_a_sequence(self.options):
            here = None if self.options.storage is None else self._folder
            told = repr((seed, len(self._study.get_trials(deepcopy=False)), here))
            seed = int(hashlib.sha256(told.encode()).hexdigest()[:8], 16)
        return choices.sampler(self.options, self.space, seed)


def _identity(path: Path) -> str:
    """What tells a sweep's folder from those of other machines."""
    file = path / SEARCH_MARK
    path.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), file.open("x") as new:
        new.write(secrets.token_hex(8))
    return file.read_text()


def _value_at(place: int) -> Callable[[FrozenTrial], float]:
    return lambda trial: trial.values[place]
