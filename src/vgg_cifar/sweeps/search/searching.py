"""The jobs of a search: a trial is one run or, with several seeds, some; the study says which trial comes next."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from vgg_cifar.config import Config
from vgg_cifar.errors import UserError
from vgg_cifar.runs.lock import Lock
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.process import Ended
from vgg_cifar.sweeps.search.study import Study
from vgg_cifar.sweeps.sweep import Wanted

SECONDS_BETWEEN_LOOKS = 1.0
"""How often the study is asked for news while it had none."""


class Plan(Protocol):
    """Turns overrides into jobs of the sweep, see `plan.Plan`."""

    def wanted(self, overrides: list[str]) -> Wanted:
        """The run that overrides make."""

    def known(self, wanted: Wanted) -> Job | None:
        """The job that this run is already, if it is one."""

    def jobs(self, wanted: list[Wanted]) -> list[Job]:
        """The jobs that these runs are, known or new."""

    def begun_with(self, overrides: list[str]) -> list[Path]:
        """The folders of those that were begun and have all of these overrides."""


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

    Args:
        study: which trial is next; an attribute too.
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
        self._standing = study.standing()
        self._next_look = self._next_refresh = 0.0

    def known(self) -> list[Job]:
        """None: what was begun before is taken up as `next`."""
        return []

    def next(self, has_room: Callable[[Config], bool]) -> Job | None:
        """A run of a trial that is here, of one that was left here, or of a new one."""
        while not self._ready and time.monotonic() >= self._next_look and has_room(self._like):
            self._take_a_trial()
        return self._ready.popleft() if self._ready else None

    def to_come(self) -> int:
        """Runs that are not there yet, as far as this process will have them."""
        left = max(0, self.study.options.n_trials - self._standing.taken)
        return left * self.study.options.seeds_per_trial + sum(len(trial.later) for trial in self._trials.values())

    def expects_more(self) -> bool:
        """Whether trials are left, or run elsewhere and may have to be taken from there."""
        self.study.beat()
        self._refresh()
        return self._standing.taken < self.study.options.n_trials or bool(self._standing.running)

    def note(self) -> str:
        """How the study stands."""
        standing, options = self._standing, self.study.options
        elsewhere = len(set(standing.running) - self._trials.keys())
        parts = [f"{standing.taken - len(standing.running)} of {options.n_trials} trials ended"]
        parts += [f"{standing.pruned} of them pruned"] if standing.pruned else []
        parts += [f"{elsewhere} run elsewhere"] if elsewhere else []
        if standing.best is not None:
            number, value = standing.best
            parts.append(f"best {options.objectives[0]} {value:.4g} in trial {number}")
        return ", ".join(parts)

    def label(self, job: Job) -> str:
        """The trial and what it tries."""
        return self._labels[job.number]

    def folders_of(self, params: Mapping[str, Any]) -> list[Path]:
        """The folders of a trial's runs that were begun here."""
        return self._plan.begun_with(self.study.space.overrides(params))

    def to_stop(self, running: list[Job]) -> list[Job]:
        """The runs of trials that are behind the others or came to nothing."""
        self.study.beat()
        for trial in list(self._trials.values()):
            if trial.jobs[0] in running:
                self._judge(trial)
        stopped = [job for job in running if job.number in self._given_up.keys() - self._told_to_stop]
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
                self.study.leave(trial.number)
                del self._trials[trial.number]
        if reason is not None and ended.status == "interrupted":
            return Ended("pruned", reason, [], ended.seconds)
        return ended

    def _take_a_trial(self) -> None:
        if not self._taking.take():
            return
        try:
            number = self._left_here()
            if number is None:
                self.study.give_up_silent_ones()
                number = self.study.ask()
            if number is None:
                self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
            else:
                self._begin(number)
        finally:
            self._taking.release()

    def _begin(self, number: int) -> None:
        try:
            runs = self._runs(number)
            assert runs is not None
        except UserError as error:
            self.study.fail(number, str(error))
            self._say(f"trial {number} cannot be run: {error}")
            return
        jobs = self._plan.jobs(runs)
        label = f"trial {number}: {self.study.space.label(self.study.parameters(number) or {})}"
        self._labels |= {job.number: label for job in jobs}
        at_once = 1 if self.study.options.pruner is not None else len(jobs)
        self._trials[number] = trial = _Trial(number, jobs, later=jobs[at_once:])
        self._judge(trial)  # a process that is gone may have decided it, but not written it down
        if number in self._trials:
            self._ready.extend(jobs[:at_once])
        self._refresh(at_once=True)

    def _left_here(self) -> int | None:
        """A trial that a process of this folder's took and has left, being gone; it is this process's from now on."""
        self._refresh()
        for number in self._standing.running:
            if number not in self._trials and self._is_left(number) and self.study.adopt(number):
                return number
        return None

    def _is_left(self, number: int) -> bool:
        try:
            jobs = [self._plan.known(each) for each in self._runs(number) or []]
        except UserError:
            return False
        begun = [job for job in jobs if job is not None]
        if not begun:  # whoever took it would have put down its runs, unless that was on another machine
            return self.study.options.storage is None
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
        values = {int(row["epoch"]) + 1: row[name] for row in rows if isfinite(row.get(name, float("nan")))}
        reason = self.study.report(trial.number, values)
        if reason is not None:
            self.study.prune(trial.number)
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
            numbers = [value for value in values if isinstance(value, int | float) and isfinite(value)]
            if len(numbers) < len(values):
                self._fail(trial, f"a run has no {name}")
                return
            means.append(fmean(numbers))
        self.study.complete(trial.number, means)
        self._end(trial, "finished")

    def _fail(self, trial: _Trial, reason: str) -> None:
        self.study.fail(trial.number, reason)
        self._end(trial, f"trial {trial.number} failed")

    def _end(self, trial: _Trial, reason: str) -> None:
        """Nothing is waited for any more; runs of it that no other trial waits for are given up."""
        del self._trials[trial.number]
        wanted = {job.number for each in self._trials.values() for job in each.jobs}
        unfinished = {job.number for job in trial.jobs} - trial.results.keys() - wanted
        self._ready = deque(job for job in self._ready if job.number not in unfinished)
        self._given_up |= dict.fromkeys(unfinished, reason)
        self._refresh(at_once=True)

    def _refresh(self, *, at_once: bool = False) -> None:
        if at_once or time.monotonic() >= self._next_refresh:
            self._standing = self.study.standing()
            self._next_refresh = time.monotonic() + SECONDS_BETWEEN_LOOKS
