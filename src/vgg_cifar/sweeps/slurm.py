"""A sweep's jobs in SLURM: each is a batch script in its folder, which types what a person would type."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from vgg_cifar.config import Config
from vgg_cifar.errors import INTERRUPTED, RunError, UserError
from vgg_cifar.runs.folder import write
from vgg_cifar.runs.lock import Lock
from vgg_cifar.sweeps.batch_script import name, script
from vgg_cifar.sweeps.cluster import ENDED, UNKNOWN, Cluster
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.options import SlurmOptions
from vgg_cifar.sweeps.pool import FINISHED, Pool, status_of
from vgg_cifar.sweeps.process import Ended, appended, judged
from vgg_cifar.sweeps.slots import Share

LONGEST_END = 60.0
"""Seconds that a job which was ended at once may take for it."""
REASONS = {
    "TIMEOUT": "SLURM ended it at its time limit, hydra.launcher.time",
    "DEADLINE": "SLURM ended it at its deadline",
    "OUT_OF_MEMORY": "it needed more memory than it had; give hydra.launcher.mem_gb",
    "NODE_FAIL": "a machine that it ran on failed",
    "BOOT_FAIL": "a machine that it should have run on did not start",
    "CANCELLED": "its job {number} in SLURM was cancelled; it can go on",
    "PREEMPTED": "SLURM gave its machines to another job; it can go on",
    "REVOKED": "another cluster took it",
    UNKNOWN: "SLURM knows nothing any more of its job {number}; it can go on",
}
"""What a state of SLURM's means for the job."""
MAY_GO_ON = ("CANCELLED", "PREEMPTED", "REVOKED", UNKNOWN)
"""States in which nothing is wrong with the job itself."""


def pool(options: SlurmOptions) -> Pool:
    """What has SLURM run the jobs.

    Raises:
        UserError: if SLURM is not here.
    """
    cluster = Cluster()
    return Pool(
        Queue(options.jobs, cluster),
        start=lambda job, _, claim: _started(job, claim, cluster, options),
        is_under_way=lambda job: _is_under_way(job, cluster),
    )


class Queue:
    """SLURM's queue, and how many jobs of the sweep may be in it.

    Args:
        jobs: at a time; None: all.
        cluster: which has the queue.
    """

    def __init__(self, jobs: int | None, cluster: Cluster) -> None:
        self._jobs = jobs
        self._cluster = cluster
        self._taken = 0

    def refuse_what_never_fits(self, config: Config) -> None:
        """Refuse a job that runs on no cluster; what SLURM itself thinks of it is seen when it is submitted.

        Raises:
            UserError: naming the option.
        """
        if config.trainer.accelerator == "mps":
            raise UserError("trainer.accelerator: no machine of a cluster has mps; set gpu or cpu")

    def take(self, config: Config) -> Share | None:
        """A place; None if all are taken, or SLURM does not answer at the moment."""
        if (self._jobs is not None and self._taken >= self._jobs) or not self._cluster.answers():
            return None
        self._taken += 1
        return Share((), {})

    def give_back(self, share: Share) -> None:
        """The job has ended."""
        self._taken -= 1


class Submitted:
    """A job that SLURM has.

    Args:
        job: which.
        claim: held already.
        cluster: which has it.
        number: its id.
        since: where in its output this attempt's begins, bytes.
    """

    def __init__(self, job: Job, claim: Lock, cluster: Cluster, number: str, since: int) -> None:
        self.job = job
        self.number = number
        self.started = time.monotonic()
        self._claim = claim
        self._cluster = cluster
        self._since = since
        self._asked_to_stop = False

    def stop(self) -> None:
        """Ask it to save its step and end, or not to begin."""
        self._asked_to_stop = True
        self._cluster.stop(self.number)

    def kill(self) -> None:
        """End it at once."""
        self._asked_to_stop = True
        self._cluster.kill(self.number)

    def wait(self) -> None:
        """Until it has ended, if SLURM says so in time."""
        deadline = time.monotonic() + LONGEST_END
        while time.monotonic() < deadline and self._cluster.seen(self.number).state not in (*ENDED, UNKNOWN):
            time.sleep(0.5)
        self._claim.release()

    def ended(self) -> Ended | None:
        """How it ended; None as long as SLURM has it, waiting or running."""
        state, code = self._cluster.seen(self.number)
        if state not in (*ENDED, UNKNOWN):
            return None
        because = None if self._asked_to_stop else REASONS.get(state, "").format(number=self.number) or None
        if because is None and code == INTERRUPTED and not self._asked_to_stop:
            because = "it saved its step, but may not queue again: hydra.launcher.requeues; the same command goes on"
        try:
            return judged(
                self.job,
                code,
                asked_to_stop=self._asked_to_stop or state in MAY_GO_ON,
                since=self._since,
                seconds=time.monotonic() - self.started,
                because=because,
            )
        finally:
            self._claim.release()


def _started(job: Job, claim: Lock, cluster: Cluster, options: SlurmOptions) -> Submitted | None:
    """A job that SLURM is given, or has from an earlier process; None if it had, and the job has just ended there.

    Raises:
        RunError: if SLURM refuses it.
    """
    with appended(job.output) as output:
        since = output.tell()
    number = _found(job, cluster)
    if number is None and not _has_ended(job):
        path = _script_of(job)
        write(path, script(job, options, Path.cwd()))
        try:
            number = cluster.submit(path)
        except RunError:
            number = cluster.find(name(job), since=time.time())  # it may have come through all the same
            if number is None and not _has_ended(job):
                raise
    return None if number is None else Submitted(job, claim, cluster, number, since)


def _has_ended(job: Job) -> bool:
    """Whether it finished or failed since it was about to be started: no earlier failure is left in its folder then."""
    return status_of(job) in (FINISHED, "failed")


def _script_of(job: Job) -> Path:
    return job.path / "job.sh"


def _found(job: Job, cluster: Cluster) -> str | None:
    """The id of what an earlier process, or a person, has submitted and SLURM still has."""
    path = _script_of(job)
    return cluster.find(name(job), since=path.stat().st_mtime) if path.is_file() else None


def _is_under_way(job: Job, cluster: Cluster) -> bool:
    """Whether what runs in the job's folder is a job of SLURM's; where it does not answer, that is seen later."""
    with suppress(RunError):
        return _found(job, cluster) is not None
    return False
