"""Where the jobs of a sweep come from: a list that is known before, or something that thinks of the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vgg_cifar.config import Config
from vgg_cifar.sweeps.job import Job, labels
from vgg_cifar.sweeps.process import Ended


class Source(Protocol):
    """Gives jobs, and is told what becomes of them."""

    def known(self) -> list[Job]:
        """Those that there are before anything runs, in their order."""

    def next(self, has_room: Callable[[Config], bool]) -> Job | None:
        """One more, asked for when nothing waits; None if there is none at the moment."""

    def expects_more(self) -> bool:
        """Whether there may be another one later, though nothing runs here."""

    def to_come(self) -> int:
        """How many there will be beside those that were given, as far as is known."""

    def note(self) -> str:
        """What a person should know beside how many jobs have ended."""

    def label(self, job: Job) -> str:
        """What tells the job from the others."""

    def to_stop(self, running: list[Job]) -> list[Job]:
        """Those of the running ones that are not worth going on with, each named once."""

    def ended(self, job: Job, ended: Ended) -> Ended:
        """How a job's end is to be understood; one that was finished before is told of in the same way."""


class Listed:
    """Jobs that are all known before.

    Args:
        jobs: in the order in which they are to start.
    """

    def __init__(self, jobs: list[Job]) -> None:
        self._jobs = jobs
        self._labels = dict(zip((job.number for job in jobs), labels(jobs), strict=True))

    def known(self) -> list[Job]:
        """All."""
        return self._jobs

    def next(self, has_room: Callable[[Config], bool]) -> Job | None:
        """None more."""
        return None

    def expects_more(self) -> bool:
        """Never."""
        return False

    def to_come(self) -> int:
        """None."""
        return 0

    def note(self) -> str:
        """Nothing."""
        return ""

    def label(self, job: Job) -> str:
        """The overrides that not all jobs share."""
        return self._labels[job.number]

    def to_stop(self, running: list[Job]) -> list[Job]:
        """All are worth it."""
        return []

    def ended(self, job: Job, ended: Ended) -> Ended:
        """As it is."""
        return ended
