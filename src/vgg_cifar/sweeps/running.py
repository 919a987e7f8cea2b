"""Run the jobs of a sweep until each is finished or has failed, and say so while it happens."""

from __future__ import annotations

import math
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from vgg_cifar.errors import DONE, FAILED, INTERRUPTED, STOPPING, RunError, UserError
from vgg_cifar.sweeps.board import Board
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.pool import ELSEWHERE, FINISHED, RUNNING, Pool, status_of
from vgg_cifar.sweeps.process import UNWRITABLE, Ended
from vgg_cifar.sweeps.source import Source

LOOKS_PER_SECOND = 5
SECONDS_BETWEEN_TRIES = 2.0
LONGEST_STOP = 300.0
"""Seconds that a run which is not worth going on with has to save its step."""


def run_jobs(title: str, source: Source, pool: Pool, console: Console, *, stop_at_failure: bool = False) -> int:
    """Run what is not finished yet, in order, as many at a time as there is room for.

    Jobs that another process runs are left to it; if that ends without finishing one, it is run here.

    Args:
        title: what the sweep is called.
        source: of the jobs that it should hold.
        pool: runs them.
        console: where to tell about it.
        stop_at_failure: whether the first job that fails stops the others.

    Returns:
        The exit code: 0 if all are finished, 1 if one failed, 75 if interrupted.
    """
    board = Board(title, console, source)
    with pool, _signals() as asked, board:
        sweeping = _Sweeping(source, pool, board, stop_at_failure=stop_at_failure)
        while sweeping.goes_on():
            sweeping.look(asked)
            board.draw(pool.running)
            time.sleep(1 / LOOKS_PER_SECOND)
    return sweeping.code


class _Sweeping:
    def __init__(self, source: Source, pool: Pool, board: Board, *, stop_at_failure: bool) -> None:
        self.source = source
        self.pool = pool
        self.board = board
        self.stop_at_failure = stop_at_failure
        self.stopping = False
        self.asked_to_stop = False
        self.interrupted = False
        self.failed = False
        self.queue: deque[Job] = deque()
        self.elsewhere: list[Job] = []
        self._next_try = 0.0
        self._signals_heard = 0
        self._patience: dict[int, float] = {}
        """Until when a run that was asked to stop may take for it."""
        for job in source.known():
            self._takes_in(job)
        board.begin()

    @property
    def code(self) -> int:
        """The exit code, once all have ended: a sweep that was asked to stop can go on, whatever failed before."""
        if self.asked_to_stop:
            return INTERRUPTED
        return FAILED if self.failed else INTERRUPTED if self.interrupted else DONE

    def goes_on(self) -> bool:
        """Whether there is anything left to wait for."""
        return bool(
            self.pool.running or (not self.stopping and (self.queue or self.elsewhere or self.source.expects_more()))
        )

    def look(self, asked: list[int]) -> None:
        """See what ended, obey signals, start what there is room for."""
        for job, ended in self.pool.ended():
            self._has_ended(job, ended)
        for number in asked[self._signals_heard :]:
            self._signals_heard += 1
            self._obey(number)
        if not self.stopping:
            self._look_elsewhere()
            given_up = {job.number for job in self.source.to_stop([each.job for each in self.pool.running])}
            for each in self.pool.running:
                if each.job.number in given_up:
                    each.attempt.stop()
                    self._patience[each.job.number] = time.monotonic() + LONGEST_STOP
                elif self._patience.get(each.job.number, math.inf) < time.monotonic():
                    each.attempt.kill()
                    del self._patience[each.job.number]
            while len(asked) == self._signals_heard and self._has_a_job_waiting() and self._starts(self.queue[0]):
                self.queue.popleft()

    def _takes_in(self, job: Job) -> None:
        """Put a job into the queue, unless it is finished, or is dealt with already."""
        if job in [*self.queue, *self.elsewhere, *(each.job for each in self.pool.running)]:
            return
        status = status_of(job)
        self.board.add(job, begun=status in ("interrupted", "failed"))
        if status == FINISHED:
            self._was_finished(job)
        else:
            self.queue.append(job)

    def _has_a_job_waiting(self) -> bool:
        while not self.queue and (job := self.source.next(self.pool.has_room_for)) is not None:
            self._takes_in(job)
        return bool(self.queue)

    def _was_finished(self, job: Job) -> None:
        self.board.finished_before(job)
        self.source.ended(job, Ended(FINISHED, "", [], 0.0))

    def _has_ended(self, job: Job, ended: Ended) -> None:
        self._patience.pop(job.number, None)
        ended = self.source.ended(job, ended)
        self.board.ended(job, ended)
        if ended.status == "failed":
            self.failed = True
            if self.stop_at_failure and not self.stopping:
                self._stop(f"job {job.number} failed")
        elif ended.status == "interrupted":
            self.interrupted = True

    def _obey(self, number: int) -> None:
        if self.stopping:
            self.pool.kill()
            return
        self.asked_to_stop = True
        self._stop(signal.Signals(number).name)

    def _stop(self, reason: str) -> None:
        self.stopping = True
        self.pool.stop()
        self.board.stops(reason, self.pool.running)

    def _starts(self, job: Job) -> bool:
        """Whether the job need not be thought of any more: it runs, here or elsewhere, or nothing is to be done."""
        try:
            status = self.pool.start(job)
        except (UserError, RunError, OSError, *UNWRITABLE) as error:
            self._has_ended(job, Ended("failed", str(error), [], 0.0))
            return True
        if status == RUNNING:
            self.board.started(job)
        elif status == FINISHED:
            self._was_finished(job)
        elif status == ELSEWHERE:
            self.elsewhere.append(job)
            self.board.runs_elsewhere(job)
        return status is not None

    def _look_elsewhere(self) -> None:
        """Take up what another process has left; what failed there has failed."""
        if time.monotonic() < self._next_try:
            return
        self._next_try = time.monotonic() + SECONDS_BETWEEN_TRIES
        for job in list(self.elsewhere):
            if self.pool.is_elsewhere(job):
                continue
            self.elsewhere.remove(job)
            status = status_of(job)
            if status == "failed":
                error = str(job.folder.read_result().get("error"))
                self._has_ended(job, Ended("failed", f"{error} (run by another process)", [], 0.0))
            else:
                self.queue.appendleft(job)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Note the signals that ask for an end, and do nothing else about them within this block."""
    asked: list[int] = []

    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
