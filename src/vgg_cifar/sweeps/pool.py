"""The jobs that run at the moment, in the shares of this machine that they have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from vgg_cifar.errors import RunError, UserError
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.process import Ended, Process
from vgg_cifar.sweeps.slots import Share, Slots

RUNNING, FINISHED, ELSEWHERE = "running", "finished", "elsewhere"


class Pool:
    """Starts jobs, tells how they ended, stops them."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.running: list[Process] = []

    def start(self, job: Job) -> str | None:
        """Start a job, or let it go on where it was; one that is finished is left as it is.

        Returns:
            "running"; "finished" if there is nothing to do; "elsewhere" if another process runs it; None if there is
            no room for it now.

        Raises:
            UserError, RunError: if its folder cannot be read or written.
        """
        share = self.slots.take(job.config)
        if share is None:
            return None
        started = None
        try:
            started = self._started(job, share)
        finally:
            if not isinstance(started, Process):
                self.slots.give_back(share)
        if isinstance(started, Process):
            self.running.append(started)
            return RUNNING
        return started

    @staticmethod
    def _started(job: Job, share: Share) -> Process | str:
        """The job's process, or why it has none."""
        job.path.mkdir(parents=True, exist_ok=True)
        claim = job.claim()
        if job.folder.in_use() or not claim.take():
            return ELSEWHERE
        try:
            result = job.folder.read_result()
            if result.get("status") == FINISHED:
                claim.release()
                return FINISHED
            if result.pop("error", None) is not None:  # what it says from now on is of this attempt
                job.folder.write_result(result | {"status": "interrupted"})
            return Process(job, share, claim)
        except BaseException:
            claim.release()
            raise

    def ended(self) -> Iterator[tuple[Job, Ended]]:
        """Those that ended since this was asked last; their shares are free."""
        for process in list(self.running):
            ended = process.ended()
            if ended is not None:
                self.running.remove(process)
                self.slots.give_back(process.share)
                yield process.job, ended

    def stop(self) -> None:
        """Ask all to save their step and end."""
        for process in self.running:
            process.stop()

    def kill(self) -> None:
        """End all at once."""
        for process in self.running:
            process.kill()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        """No job outlives its pool."""
        self.kill()
        for process in self.running:
            process.wait()


def status_of(job: Job) -> str:
    """What a job's folder says: "finished", "failed", "interrupted", or "queued" where there is nothing yet."""
    with suppress(UserError, RunError):
        return str(job.folder.read_result().get("status", "queued"))
    return "queued"
