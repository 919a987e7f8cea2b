"""A study of Optuna's: which trials there are, who has them, and what came of them."""

from __future__ import annotations

import hashlib
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgg_cifar.errors import RunError, UserError, first_line, redacted
from vgg_cifar.options import spelled
from vgg_cifar.sweeps.search import choices
from vgg_cifar.sweeps.search.options import SearchOptions
from vgg_cifar.sweeps.search.space import Space

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

FILE = "study.db"
ENVIRONMENT = "OPTUNA_STORAGE"
MADE_OF = "vgg_cifar"
"""The study's attribute that says what it searches, and over what."""
BEATS_OF_GRACE = 3
SECONDS_OF_PATIENCE = 60
"""How long a database file may be locked by another process."""


def address_of(options: SearchOptions, path: Path) -> str:
    """Where a study is.

    Args:
        options: of the search.
        path: the sweep's folder.

    Raises:
        UserError: if the environment does not say it.
    """
    if options.storage is None:
        return f"sqlite:///{path / FILE}"
    if options.storage != "environment":
        return options.storage
    address = os.environ.get(ENVIRONMENT, "")
    if "://" not in address:
        raise UserError(f"hydra.sweeper.storage: environment: {ENVIRONMENT} holds no address of a database")
    return address


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
    _beaten: float = 0.0

    def __post_init__(self) -> None:
        import optuna
        from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        address = address_of(self.options, self.path)
        try:
            with _reached(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # experimental: heartbeats
                self._storage: RDBStorage = RDBStorage(
                    address,
                    engine_kwargs=_engine(address),
                    heartbeat_interval=self.options.heartbeat_seconds,
                    grace_period=BEATS_OF_GRACE * self.options.heartbeat_seconds,
                    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
                )
                self._study = optuna.create_study(
                    storage=self._storage,
                    study_name=self.name,
                    directions=list(self.options.directions.values()),
                    load_if_exists=True,
                    pruner=choices.pruner(self.options),
                )
        except (RunError, ImportError, ValueError) as error:
            reason = first_line(error.__cause__ or error)
            raise UserError(f"hydra.sweeper.storage: {redacted(address)} cannot be opened: {reason}") from error
        with _reached():
            self._refuse_another_study()
            self._study.sampler = self._sampler()

    def standing(self) -> Standing:
        """How it stands now."""
        from optuna.trial import TrialState

        with _reached():
            trials = self._trials()
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
        with _reached():
            standing = self.standing()
            if standing.taken >= self.options.n_trials:
                return None
            if self.options.seed is not None:
                self._study.sampler = self._sampler()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that heartbeats are the caller's own affair
                trial = self._study.ask()
            self._storage.record_heartbeat(trial._trial_id)
            if self._is_one_too_many(trial):
                return None
            return self._take(trial)

    def adopt(self, number: int) -> bool:
        """Take a trial that a process which is gone left running; False if another has ended it since."""
        from optuna import Trial
        from optuna.trial import TrialState

        with _reached():
            (found,) = [each for each in self._study.get_trials(deepcopy=False) if each.number == number]
            self._storage.record_heartbeat(found._trial_id)
            if self._storage.get_trial(found._trial_id).state != TrialState.RUNNING:
                return False
            self._take(Trial(self._study, found._trial_id))
            return True

    def _take(self, trial: Trial) -> int:
        for key, distribution in self.space.distributions().items():
            trial._suggest(key, distribution)
        self._mine[trial.number] = trial
        return trial.number

    def parameters(self, number: int) -> dict[str, Any] | None:
        """The values of a trial by dimension; None where it has not all of them yet."""
        with _reached():
            (found,) = [each for each in self._study.get_trials(deepcopy=False) if each.number == number]
        return dict(found.params) if found.params.keys() >= self.space.dimensions.keys() else None

    def report(self, number: int, values: Mapping[int, float]) -> str | None:
        """Tell what a trial's run has come to, by epoch from 1.

        Returns:
            Why the run is not worth going on with, if it is not.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        trial = self._mine[number]
        with _reached():
            known = self._storage.get_trial(trial._trial_id).intermediate_values
            new = sorted(values.keys() - known.keys())
            try:
                for epoch in new or sorted(values)[-1:]:
                    if epoch in new:
                        trial.report(values[epoch], epoch)
                    if trial.should_prune():
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

        with _reached(), suppress(UpdateFinishedTrialError):
            self._mine[number].set_user_attr("error", reason)
        self._tell(number, "FAIL", None)

    def leave(self, number: int) -> None:
        """A trial is not run here any more, and nothing is said of it."""
        self._mine.pop(number, None)

    def beat(self) -> None:
        """Say that this process's trials are alive."""
        now = time.monotonic()
        if now - self._beaten > self.options.heartbeat_seconds / 2:
            self._beaten = now
            with _reached():
                for trial in self._mine.values():
                    self._storage.record_heartbeat(trial._trial_id)

    def give_up_silent_ones(self) -> None:
        """Let anybody take the trials of machines that were silent for too long."""
        from optuna.storages import fail_stale_trials

        with _reached(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fail_stale_trials(self._study)

    def trials(self) -> list[FrozenTrial]:
        """All, without those that were taken from a dead machine and began anew under another number."""
        with _reached():
            return self._trials()

    def importance(self) -> dict[str, dict[str, float]]:
        """Each objective's share that each dimension explains (PED-ANOVA); empty where there are too few trials."""
        from optuna.importance import get_param_importances
        from optuna.trial import TrialState

        if sum(each.state == TrialState.COMPLETE for each in self.trials()) < 4:
            return {}
        shares = {}
        with _reached(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for place, name in enumerate(self.options.objectives):
                try:
                    shares[name] = dict(get_param_importances(self._study, target=_value_at(place)))
                except (ValueError, RuntimeError, ZeroDivisionError):
                    continue  # all trials have the same value
        return shares

    def _tell(self, number: int, state: str, values: list[float] | None) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        trial = self._mine.pop(number, None)
        if trial is None:
            return
        # Another machine took it for dead; or a sampler that knows no more points would stop a loop of Optuna's own.
        with _reached(), suppress(UpdateFinishedTrialError, RuntimeError):
            self._study.tell(trial, values, TrialState[state], skip_if_finished=True)

    def _trials(self) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False)
        again = {number for each in trials for number in each.system_attrs.get("retry_history", ())}
        return [each for each in trials if each.number not in again and "surplus" not in each.user_attrs]

    def _is_one_too_many(self, trial: Trial) -> bool:
        """Whether others took the last ones at the same moment; then this one is given back as if it never was."""
        from optuna.trial import TrialState

        taken = [each.number for each in self._trials() if each.state != TrialState.WAITING]
        if len(taken) <= self.options.n_trials or trial.number not in sorted(taken)[self.options.n_trials :]:
            return False
        trial.set_user_attr("surplus", True)
        self._study.tell(trial, state=TrialState.FAIL)
        return True

    def _refuse_another_study(self) -> None:
        mine = {
            "objectives": self.options.directions,
            "seeds_per_trial": self.options.seeds_per_trial,
            "space": {key: each.model_dump() for key, each in self.space.dimensions.items()},
            **self.made_of,
        }
        stored = self._study.user_attrs.get(MADE_OF)
        if stored is None and not self._study.get_trials(deepcopy=False):
            self._study.set_user_attr(MADE_OF, mine)
            return
        if not isinstance(stored, dict):
            raise UserError(f"sweep: the study {self.name} is not one of this project; name another sweep=...")
        changed = list(_differences(stored, mine))
        if changed:
            raise UserError(
                f"sweep: the study {self.name} searches something else ({'; '.join(changed[:3])}); go back to that, or "
                "name another sweep=..."
            )

    def _sampler(self) -> BaseSampler:
        """One whose draws follow from the seed and the trials there are; on a shared study each machine has its own."""
        if self.options.seed is None:
            return choices.sampler(self.options, self.space, None)
        here = [] if self.options.storage is None else [socket.gethostname(), str(self.path)]
        told = repr((self.options.seed, len(self._study.get_trials(deepcopy=False)), here))
        return choices.sampler(self.options, self.space, int(hashlib.sha256(told.encode()).hexdigest()[:8], 16))


def _engine(address: str) -> dict[str, Any]:
    """What SQLAlchemy should know of a database."""
    if address.startswith("sqlite"):
        return {"connect_args": {"timeout": SECONDS_OF_PATIENCE}}
    return {"pool_pre_ping": True}  # a connection that was cut is made anew


def _value_at(place: int) -> Callable[[FrozenTrial], float]:
    return lambda trial: trial.values[place]


def _differences(stored: Mapping[str, Any], mine: Mapping[str, Any]) -> Iterator[str]:
    for part in mine:
        before, after = stored.get(part), mine[part]
        if isinstance(before, dict) and isinstance(after, dict):
            for key in sorted(before.keys() | after.keys()):
                if before.get(key) != after.get(key):
                    yield f"{key}: {_brief(before.get(key))} -> {_brief(after.get(key))}"
        elif before != after:
            yield f"{part}: {_brief(before)} -> {_brief(after)}"


def _brief(value: Any) -> str:
    """A value, or a dimension, in few words."""
    if not isinstance(value, dict):
        return spelled(value)
    if value.get("choices"):
        return ",".join(map(str, value["choices"]))
    return f"{value.get('low')} to {value.get('high')}" + (", log" if value.get("log") else "")


@contextmanager
def _reached() -> Iterator[None]:
    """What the database says that cannot be reached, as one line."""
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause = error.__cause__ or error
        raise RunError(f"the study cannot be reached: {first_line(cause)}; the same command goes on") from error
