"""Where the jobs of a sweep come from: a list that is known before, or something that thinks of the next one."""

from __future__ import annotations

from typing import Protocol

from vgg_cifar.sweeps.job import Job, labels
from vgg_cifar.sweeps.process import Ended


class Source(Protocol):
    """Gives jobs, and is told what becomes of them."""

    def known(self) -> list[Job]:
        """Those that there are before anything runs, in their order."""

    def next(self) -> Job | None:
        """One more, asked for when there is room and nothing waits; None if there is none at the moment."""

    def expects_more(self) -> bool:
        """Whether there may be another one later, though nothing runs here."""

    def expected(self) -> int | None:
        """How many there will be in all, if it is not just those that there are."""

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

    def next(self) -> Job | None:
        """None more."""
        return None

    def expects_more(self) -> bool:
        """Never."""
        return False

    def expected(self) -> int | None:
        """Just these."""
        return None

    def label(self, job: Job) -> str:
        """The overrides that not all jobs share."""
        return self._labels[job.number]

    def to_stop(self, running: list[Job]) -> list[Job]:
        """All are worth it."""
        return []

    def ended(self, job: Job, ended: Ended) -> Ended:
        """As it is."""
        return ended
