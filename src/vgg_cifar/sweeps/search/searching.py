"""The jobs of a search: a trial is one run or, with several seeds, some; the study says which trial comes next."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from vgg_cifar.config import Config
from vgg_cifar.errors import RunError, UserError
from vgg_cifar.runs.lock import Lock
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.process import Ended
from vgg_cifar.sweeps.search.patience import Patience
from vgg_cifar.sweeps.search.study import Study
from vgg_cifar.sweeps.sweep import Wanted

SECONDS_BETWEEN_LOOKS = 1.0
"""How often the study is asked for news while it had none."""
MOST_MISTAKES = 10
"""Trials in a row that cannot be run, after which none is thought of any more."""
LARGEST = 2.0**63
"""No run comes to more, unless it diverged."""


class Plan(Protocol):
    """Turns overrides into jobs of the sweep, see `plan.Plan`."""

    def wanted(self, overrides: list[str]) -> Wanted:
        """The run that overrides make."""

    def known(self, wanted: Wanted) -> Job | None:
        """The job that this run is already, if it is one."""

    def jobs(self, wanted: list[Wanted]) -> list[Job]:
        """The jobs that these runs are, known or new."""

    def begun(self) -> list[tuple[Path, list[str]]]:
        """The folders of those that were begun, with their overrides."""


@dataclass
class _Trial:
    """A trial that is this process's, as long as anything is waited for.

    Attributes:
        number: in the study.
        jobs: a run for each seed; two trials that try the same have the same.
        later: those that start when the first is finished.
        results: of those that are finished, by job number.
        read: when the first run's metrics were read last, and how large they were.
    """

    number: int
    jobs: list[Job]
    later: list[Job]
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    read: tuple[int, int] = (0, 0)


class Searching:
    """Gives the runs of a study's trials, see `source.Source`.

    While the study's database cannot be reached, its runs go on, and what is to be told to it waits.

    Args:
        study: which trial is next.
        plan: makes its runs jobs of the sweep.
        like: a configuration like the trials', by which it is judged whether there is room for one more.
        is_elsewhere: whether another process runs a job.
        say: tells a person something.
    """

    def __init__(
        self,
        study: Study,
        plan: Plan,
        like: Config,
        is_elsewhere: Callable[[Job], bool],
        say: Callable[[str], None],
    ) -> None:
        self.study = study
        self._plan = plan
        self._like = like
        self._is_elsewhere = is_elsewhere
        self._say = say
        self._trials: dict[int, _Trial] = {}
        self._ready: deque[Job] = deque()
        self._taking = Lock(study.path / ".taking")
        """Held while a trial is taken, until its runs are put down in the folder."""
        self._labels: dict[int, str] = {}
        self._given_up: dict[int, str] = {}
        """Runs that no trial waits for any more, and why."""
        self._told_to_stop: set[int] = set()
        self._runs_of: dict[int, list[Wanted]] = {}
        self._left: set[int] = set()
        """Trials whose runs were interrupted, not by this search: the next command goes on with them."""
        self._over: set[int] = set()
        """Trials that have ended here, whether or not the study knows it yet."""
        self._patience = Patience(say)
        self._mistakes = 0
        self._standing = study.standing()
        self._next_look = self._next_refresh = 0.0
        self._mistake: UserError | RunError | None = None

    @property
    def broken(self) -> UserError | RunError | None:
        """Why the search has to stop, if it has to."""
        return self._mistake or self._patience.at_end

    def known(self) -> list[Job]:
        """None: what was begun before is taken up as `next`."""
        return []

    def next(self, has_room: Callable[[Config], bool]) -> Job | None:
        """A run of a trial that is here, of one that was left here, or of a new one."""
        while not self._ready and time.monotonic() >= self._next_look and has_room(self._like):
            self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
            with self._patience.borne():
                self._take_a_trial()
        return self._ready.popleft() if self._ready else None

    def to_come(self) -> int:
        """Runs that are not there yet, as far as this process will have them."""
        left = max(0, self.study.options.n_trials - self._standing.taken)
        return left * self.study.options.seeds_per_trial + sum(len(trial.later) for trial in self._trials.values())

    def expects_more(self) -> bool:
        """Whether trials are left, or run elsewhere and may have to be taken from there."""
        self._keep_up()
        if self.broken is not None:
            return False
        running = set(self._standing.running) - self._left
        return bool(
            self._standing.taken < self.study.options.n_trials or running or self._patience.has_something_to_tell()
        )

    def note(self) -> str:
        """How the study stands."""
        standing, options = self._standing, self.study.options
        elsewhere = len(set(standing.running) - self._trials.keys() - self._left - self._over)
        ended = standing.taken - len(set(standing.running) - self._over)
        parts = [f"{ended} of {options.n_trials} trials ended"]
        parts += [f"{standing.pruned} of them pruned"] if standing.pruned else []
        parts += [f"{elsewhere} run elsewhere"] if elsewhere else []
        if standing.best is not None:
            number, value = standing.best
            parts.append(f"best {options.objectives[0]} {value:.4g} in trial {number}")
        return ", ".join(parts)

    def label(self, job: Job) -> str:
        """The trial and what it tries."""
        return self._labels[job.number]

    def folders(self) -> Callable[[Mapping[str, Any]], list[Path]]:
        """Tells, as of now, the folders of the runs that were begun here with a trial's parameters."""
        space = self.study.space
        found: dict[frozenset[str], list[Path]] = {}
        for path, overrides in self._plan.begun():
            found.setdefault(frozenset(filter(space.varies, overrides)), []).append(path)
        return lambda params: found.get(frozenset(space.overrides(params)), [])

    def to_stop(self, running: list[Job]) -> list[Job]:
        """The runs of trials that are behind the others or came to nothing; all if the search has to stop."""
        self._keep_up()
        for trial in list(self._trials.values()):
            if trial.jobs[0] in running:
                self._judge(trial)
        given_up = self._given_up.keys() if self.broken is None else {job.number for job in running}
        stopped = [job for job in running if job.number in given_up - self._told_to_stop]
        self._told_to_stop |= {job.number for job in stopped}
        return stopped

    def ended(self, job: Job, ended: Ended) -> Ended:
        """What it means for the trials that this run is of."""
        self._told_to_stop.discard(job.number)
        reason = self._given_up.pop(job.number, None)
        for trial in [each for each in self._trials.values() if job in each.jobs]:
            if ended.status == "finished":
                self._has_finished(trial, job)
            elif ended.status == "failed":
                self._fail(trial, ended.reason)
            else:
                self._left.add(trial.number)
                self.study.leave(trial.number)
                del self._trials[trial.number]
        self._next_refresh = 0.0  # so that the note on how the study stands has this trial, too
        self._keep_up()
        if reason is not None and ended.status == "interrupted":
            return Ended("pruned", reason, [], ended.seconds)
        return ended

    def _keep_up(self) -> None:
        """Say that this search is alive, tell what has ended, and hear how the study stands."""
        with self._patience.borne():
            self.study.beat()
            if self._patience.has_something_to_tell():
                self._patience.tell_all()
                self._next_refresh = 0.0
            if time.monotonic() < self._next_refresh:
                return
            self._next_refresh = time.monotonic() + SECONDS_BETWEEN_LOOKS
            self._standing = self.study.standing()
            for number in self._trials.keys() - set(self._standing.running):
                self.study.leave(number)
                self._end(self._trials[number], "another machine took it over")

    def _take_a_trial(self) -> None:
        if self.broken is not None or not self._taking.take(0.0):
            return
        try:
            number = self._left_here()
            if number is None:
                self.study.give_up_silent_ones()
                number = self.study.ask()
            if number is not None:
                self._next_look = 0.0
                self._begin(number)
        finally:
            self._taking.release()

    def _begin(self, number: int) -> None:
        try:
            runs = self._runs(number)
            assert runs is not None
        except UserError as error:
            self._say(f"trial {number} cannot be run: {error}")
            self._patience.tell(partial(self.study.fail, number, str(error)))
            self._mistakes += 1
            if self._mistakes >= MOST_MISTAKES:
                self._mistake = RunError(f"{self._mistakes} trials in a row cannot be run; the last one: {error}")
            self._keep_up()
            return
        self._mistakes = 0
        try:
            jobs = self._plan.jobs(runs)
        except UserError as error:  # somebody has changed the code meanwhile, or the folder
            self.study.leave(number)
            self._mistake = error
            return
        label = f"trial {number}: {self.study.space.label(self.study.parameters(number) or {})}"
        self._labels |= {job.number: label for job in jobs}
        for job in jobs:
            self._given_up.pop(job.number, None)
        self._standing = self.study.standing()
        at_once = 1 if self.study.options.pruner is not None else len(jobs)
        self._trials[number] = trial = _Trial(number, jobs, later=jobs[at_once:])
        self._judge(trial)  # a process that is gone may have decided it, but not written it down
        if number in self._trials:
            self._ready.extend(jobs[:at_once])

    def _left_here(self) -> int | None:
        """A trial that a process of this folder's took and has left, being gone; it is this process's from now on."""
        for number in self._standing.running:
            is_known = number in self._trials or number in self._left or number in self._over
            if not is_known and self._is_left(number) and self.study.adopt(number):
                return number
        return None

    def _is_left(self, number: int) -> bool:
        if not self.study.may_be_left_here(number):
            return False
        try:
            jobs = [self._plan.known(each) for each in self._runs(number) or []]
        except UserError:
            return False
        begun = [job for job in jobs if job is not None]
        if not begun:  # whoever took it would have put down its runs, if it had not died first
            return True
        return not any(self._is_elsewhere(job) for job in begun)

    def _runs(self, number: int) -> list[Wanted] | None:
        """A trial's, one for each seed; None where its values are not known yet."""
        if number not in self._runs_of:
            params = self.study.parameters(number)
            if params is None:
                return None
            fixed = [each for each in self.study.space.fixed if not each.startswith("seed=")]
            overrides = [*fixed, *self.study.space.overrides(params)]
            seeds = range(self._like.seed, self._like.seed + self.study.options.seeds_per_trial)
            self._runs_of[number] = [self._plan.wanted([*overrides, f"seed={seed}"]) for seed in seeds]
        return self._runs_of[number]

    def _judge(self, trial: _Trial) -> None:
        """Tell the study what the first run has come to, and end the trial if that is not enough."""
        if self.study.options.pruner is None:
            return
        folder = trial.jobs[0].folder
        try:
            about = folder.metrics.stat()
            if (about.st_mtime_ns, about.st_size) == trial.read:
                return
            trial.read = about.st_mtime_ns, about.st_size
            rows = folder.read_metrics()
        except (OSError, UserError):
            return
        name = self.study.options.objectives[0]
        values = {int(row["epoch"]) + 1: row[name] for row in rows if abs(row.get(name, float("nan"))) < LARGEST}
        reason = None
        with self._patience.borne():
            reason = self.study.report(trial.number, values, trial.jobs[0].config.trainer.max_epochs)
        if self._patience.is_away:
            trial.read = (0, 0)  # it is told later
        elif reason is not None:
            self._patience.tell(partial(self.study.prune, trial.number))
            self._end(trial, reason)

    def _has_finished(self, trial: _Trial, job: Job) -> None:
        trial.results[job.number] = job.folder.read_result()
        self._ready.extend(trial.later)
        trial.later = []
        if len(trial.results) < len(trial.jobs):
            return
        means = []
        for name in self.study.options.objectives:
            values = [trial.results[each.number].get(name) for each in trial.jobs]
            numbers = [value for value in values if isinstance(value, int | float) and abs(value) < LARGEST]
            if len(numbers) < len(values):
                self._fail(trial, f"a run has no {name}, or one beyond all measure")
                return
            means.append(fmean(numbers))
        self._patience.tell(partial(self.study.complete, trial.number, means))
        self._end(trial, "finished")

    def _fail(self, trial: _Trial, reason: str) -> None:
        self._patience.tell(partial(self.study.fail, trial.number, reason))
        self._end(trial, f"trial {trial.number} failed")

    def _end(self, trial: _Trial, reason: str) -> None:
        """Nothing is waited for any more; runs of it that no other trial waits for are given up."""
        del self._trials[trial.number]
        self._over.add(trial.number)
        wanted = {job.number for each in self._trials.values() for job in each.jobs}
        unfinished = {job.number for job in trial.jobs} - trial.results.keys() - wanted
        self._ready = deque(job for job in self._ready if job.number not in unfinished)
        self._given_up |= dict.fromkeys(unfinished, reason)
