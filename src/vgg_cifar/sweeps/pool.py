"""The jobs that run at the moment, each in the share that it has of this machine or of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple, Protocol

from vgg_cifar.config import Config
from vgg_cifar.errors import RunError, UserError
from vgg_cifar.runs.lock import Lock
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.process import Ended, Process
from vgg_cifar.sweeps.slots import Share

RUNNING, FINISHED, ELSEWHERE = "running", "finished", "elsewhere"


class Room(Protocol):
    """What can be had for jobs, as `slots.Slots` has it of this machine."""

    def refuse_what_never_fits(self, config: Config) -> None:
        """Raise a UserError for a job that could not run even if it were alone."""

    def take(self, config: Config) -> Share | None:
        """A share for this job, or None if what is left is too little for it."""

    def give_back(self, share: Share) -> None:
        """The job has ended."""


class Attempt(Protocol):
    """A job that was started, as a `process.Process` is."""

    @property
    def started(self) -> float:
        """When, on the monotonic clock."""

    def ended(self) -> Ended | None:
        """How it ended; None as long as it runs. Whoever asks for the first time after its end frees its claim."""

    def stop(self) -> None:
        """Ask it to save its step and end."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self) -> None:
        """Until it has ended."""


Start = Callable[[Job, Share, Lock], Attempt | None]
"""Starts a job in its share; its claim is held already, and is the attempt's from then on. None: another process had
started it, and it has ended just now."""


class Running(NamedTuple):
    """A job that runs now."""

    job: Job
    share: Share
    attempt: Attempt


class Pool:
    """Starts jobs, tells how they ended, stops them.

    Args:
        room: for how many, and what each has.
        start: how one is started.
        is_under_way: whether one that runs in its folder was started by a process that may be gone, and can be watched
            from here; `start` then watches it.
    """

    def __init__(
        self, room: Room, start: Start = Process, is_under_way: Callable[[Job], bool] = lambda _: False
    ) -> None:
        self.room = room
        self.running: list[Running] = []
        self._start = start
        self._is_under_way = is_under_way

    def has_room_for(self, config: Config) -> bool:
        """Whether such a job could start now."""
        share = self.room.take(config)
        if share is not None:
            self.room.give_back(share)
        return share is not None

    def start(self, job: Job) -> str | None:
        """Start a job, or let it go on where it was; one that is finished is left as it is.

        Returns:
            "running"; "finished" if there is nothing to do; "elsewhere" if another process runs it; None if there is
            no room for it now.

        Raises:
            UserError, RunError: if its folder cannot be read or written.
        """
        share = self.room.take(job.config)
        if share is None:
            return None
        started: Attempt | str = ""
        try:
            started = self._started(job, share)
        finally:
            if isinstance(started, str):
                self.room.give_back(share)
        if isinstance(started, str):
            return started
        self.running.append(Running(job, share, started))
        return RUNNING

    def _started(self, job: Job, share: Share) -> Attempt | str:
        """The job's attempt, or why it has none."""
        job.path.mkdir(parents=True, exist_ok=True)
        claim = job.claim()
        if self._is_in_use(job) or not claim.take():
            return ELSEWHERE
        try:
            result = job.folder.read_result()
            if result.get("status") == FINISHED:
                claim.release()
                return FINISHED
            # what it says from now on is of this attempt
            if result.pop("error", None) is not None or result.get("status") == "failed":
                job.folder.write_result(result | {"status": "interrupted"})
            attempt = self._start(job, share, claim)
            if attempt is None:
                claim.release()
                return ELSEWHERE
            return attempt
        except BaseException:
            claim.release()
            raise

    def is_elsewhere(self, job: Job) -> bool:
        """Whether another process runs the job."""
        return job.claim().is_held() or self._is_in_use(job)

    def _is_in_use(self, job: Job) -> bool:
        return job.folder.in_use() and not self._is_under_way(job)

    def ended(self) -> Iterator[tuple[Job, Ended]]:
        """Those that ended since this was asked last; their shares are free."""
        for each in list(self.running):
            ended = each.attempt.ended()
            if ended is not None:
                self.running.remove(each)
                self.room.give_back(each.share)
                yield each.job, ended

    def stop(self) -> None:
        """Ask all to save their step and end."""
        for each in self.running:
            each.attempt.stop()

    def kill(self) -> None:
        """End all at once."""
        for each in self.running:
            each.attempt.kill()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        """No job outlives its pool."""
        self.kill()
        for each in self.running:
            each.attempt.wait()


def status_of(job: Job) -> str:
    """What a job's folder says: "finished", "failed", "interrupted", or "queued" where there is nothing yet."""
    with suppress(UserError, RunError):
        return str(job.folder.read_result().get("status", "queued"))
    return "queued"
