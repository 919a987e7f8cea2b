"""A job's process: started as a person would start the run, and ended with the process that started it."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from vgg_cifar import standalone
from vgg_cifar.errors import INTERRUPTED, RunError, UserError
from vgg_cifar.runs.lock import Lock
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.slots import Share

PR_SET_PDEATHSIG = 1
"""Of Linux' prctl(2): the signal that the kernel sends a process when its parent is gone."""
LAST_LINES = 8
UNWRITABLE = (ValueError, RecursionError)
"""What writing a result again raises if somebody put into it what no run would: half a character, a deep nest."""
LIBC = ctypes.CDLL(None)


class Ended(NamedTuple):
    """How a job ended.

    Attributes:
        status: "finished", "failed" or "interrupted".
        reason: why, unless it finished.
        last_lines: that it wrote, if it failed.
        seconds: that this process of it took.
    """

    status: str
    reason: str
    last_lines: list[str]
    seconds: float


class Process:
    """One process of a job; the job is claimed for as long as it lives and until it is judged.

    Args:
        job: which.
        share: of the machine.
        claim: held already.

    Raises:
        RunError: if it cannot be started.
    """

    def __init__(self, job: Job, share: Share, claim: Lock) -> None:
        self.job = job
        self.share = share
        self.started = time.monotonic()
        self.asked_to_stop = False
        self._claim = claim
        parent = os.getpid()
        try:
            with appended(job.output) as output:
                self._since = output.tell()
                self._process = subprocess.Popen(
                    standalone.command(job.words()),
                    env=standalone.environment(PYTHONUNBUFFERED="1", **share.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a terminal's Ctrl-C comes to the parent alone, which passes it on once
                    preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509 - there is no other thread here
                )
        except OSError as error:
            raise RunError(f"job {job.number} cannot be started: {error}") from error

    def stop(self) -> None:
        """Ask it to save its step and end."""
        self.asked_to_stop = True
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and its ranks at once."""
        self.asked_to_stop = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Until it has ended."""
        self._process.wait()

    def ended(self) -> Ended | None:
        """How it ended; None as long as it runs."""
        code = self._process.poll()
        if code is None:
            return None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # ranks that it left behind
        try:
            seconds = time.monotonic() - self.started
            return judged(self.job, code, asked_to_stop=self.asked_to_stop, since=self._since, seconds=seconds)
        finally:
            self._claim.release()


def judged(
    job: Job, code: int, *, asked_to_stop: bool, since: int, seconds: float, because: str | None = None
) -> Ended:
    """How a job ended; what it could not write down itself is written to its folder.

    Args:
        job: which.
        code: exit code, negative for a signal.
        asked_to_stop: whether whoever started it asked it to.
        since: where in its output this attempt's begins, bytes.
        seconds: that it took.
        because: why, where that is known from elsewhere.
    """
    folder = job.folder
    try:
        result = folder.read_result()
    except UserError as error:
        return Ended("failed", str(error), _last_lines(job.output, since), seconds)
    if result.get("status") == "finished":  # killed afterwards perhaps
        return Ended("finished", "", [], seconds)
    if code == INTERRUPTED or asked_to_stop:
        return Ended("interrupted", because or "it was asked to stop, and can go on", [], seconds)
    lines = _last_lines(job.output, since)
    if result.get("status") == "failed" and isinstance(result.get("error"), str) and code > 0:
        return Ended("failed", result["error"], lines, seconds)
    reason = because or _reason(code, lines)
    with suppress(RunError, OSError, *UNWRITABLE):
        folder.path.mkdir(exist_ok=True)
        folder.write_result(result | {"status": "failed", "error": reason})
    return Ended("failed", reason, lines, seconds)


def _last_lines(path: Path, since: int) -> list[str]:
    """Of what was written from there on, without what a terminal would obey."""
    try:
        with path.open("rb") as output:
            size = output.seek(0, os.SEEK_END)
            output.seek(max(since, size - 20_000))
            text = output.read().decode(errors="replace")
    except OSError:
        return []
    lines = ["".join(each for each in line if each.isprintable()).rstrip() for line in text.splitlines()]
    return [line for line in lines if line][-LAST_LINES:]


def appended(path: Path) -> IO[bytes]:
    """A file to write to at its end; nothing that was laid in its place, a link or a pipe."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    return open(os.open(path, flags, 0o666), "ab")  # noqa: PTH123


def _reason(code: int, lines: list[str]) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
        return f"it was killed by {name}" + (", perhaps because memory ran out" if code == -signal.SIGKILL else "")
    for line in reversed(lines):
        if found := re.match(r"error: (.+)", line):
            return found[1]
    return f"it ended with exit code {code} and left no finished result"


def _die_with(parent: int) -> None:
    """In the new process, before it becomes the run: end with its parent, even if that is killed."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(INTERRUPTED)
