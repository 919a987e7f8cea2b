"""SLURM's account of this user's jobs: asked for all of them in one call, not often, and patiently."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from vgg_cifar import standalone
from vgg_cifar.errors import RunError, UserError

SECONDS_BETWEEN_LOOKS = 10.0
"""SLURM serves everybody: nobody is to ask it all the time."""
CLOCKS_DIFFER = 60.0
"""Seconds by which the clock of a shared disk may be wrong."""
PATIENCE = 60
"""Seconds after which a command of SLURM's counts as failed."""
COMMANDS = ("sbatch", "squeue", "scancel", "scontrol")
ENDED = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
)  # fmt: skip
OF_A_PERSON = re.compile("(SBATCH|SQUEUE|SCANCEL|SACCT)_")
"""Variables that would overrule what a script asks for, or hide jobs."""
UNKNOWN = "UNKNOWN"
"""Of a job that SLURM has forgotten."""


class Seen(NamedTuple):
    """What SLURM says of a job.

    Attributes:
        state: in SLURM's words, like "PENDING".
        code: that its script ended with, negative for a signal; 0 as long as it has not ended.
    """

    state: str
    code: int


class Cluster:
    """This user's jobs in SLURM.

    Raises:
        UserError: if SLURM is not here, or does not answer.
    """

    def __init__(self) -> None:
        for command in COMMANDS:
            if shutil.which(command) is None:
                raise UserError(
                    f"hydra/launcher: slurm needs {command}, which is not here; type this on a machine of the cluster, "
                    "or leave hydra/launcher off"
                )
        self._seen: dict[str, Seen] = {}
        self._names: dict[str, str] = {}
        self._looked = self._tried = 0.0
        self._stopping: set[str] = set()
        self._to_stop: list[str] = []
        self._to_kill: list[str] = []
        self._next_tell = 0.0
        try:
            self._look()
        except RunError as error:
            raise UserError(f"hydra/launcher: SLURM does not answer: {error}") from error

    def answers(self) -> bool:
        """Whether it did when it was asked last, some seconds ago."""
        self._keep_up()
        return self._looked >= self._tried

    def submit(self, script: Path) -> str:
        """Submit a batch script from its own folder.

        Returns:
            The job's id.

        Raises:
            RunError: with SLURM's reason if it is refused.
        """
        number = _answer(["sbatch", "--parsable", script.name], cwd=script.parent).strip().partition(";")[0]
        self._seen[number] = Seen("PENDING", 0)
        return number

    def find(self, name: str, since: float) -> str | None:
        """The id of the job of this name that has not ended.

        Args:
            name: of the job, its own.
            since: when it was submitted, if it was, in seconds since 1970.

        Raises:
            RunError: if SLURM does not answer.
        """
        if self._looked < since + CLOCKS_DIFFER:
            self._look()
        else:
            self._keep_up()
        named = [number for number, its_name in self._names.items() if its_name == name]
        return next((number for number in named if self._seen[number].state not in ENDED), None)

    def seen(self, number: str) -> Seen:
        """How a job stands, as of some seconds ago."""
        self._keep_up()
        return self._seen.get(number, Seen(UNKNOWN, 0))

    def stop(self, number: str) -> None:
        """Have a job save its step and end, or not begin; done when any job is looked at next."""
        self._to_stop.append(number)

    def kill(self, number: str) -> None:
        """End a job at once; done when any job is looked at next."""
        self._to_kill.append(number)

    def _keep_up(self) -> None:
        """Do what is due, in one call for all jobs: tell SLURM, and look again after some time."""
        self._to_stop, self._to_kill = ([*filter(self._has, them)] for them in (self._to_stop, self._to_kill))
        if time.time() >= self._next_tell:
            if self._to_stop:
                self._stopping |= {*self._to_stop}
                waiting = self._is_told(["scancel", "--state=PENDING", *self._to_stop])
                # its script passes it on
                if self._is_told(["scancel", "--batch", "--signal=TERM", *self._to_stop]) and waiting:
                    self._to_stop = []
            if self._to_kill and self._is_told(["scancel", *self._to_kill]):
                self._to_kill = []
        if time.time() - self._tried > SECONDS_BETWEEN_LOOKS:
            try:
                self._look()
            except RunError:
                return  # it will be back; until then all stands as it stood
            again = [number for number in self._stopping if self._seen[number].state == "PENDING"]
            if again:  # the script queued it again before it heard
                self._is_told(["scancel", "--state=PENDING", *again])

    def _has(self, number: str) -> bool:
        return self._seen.get(number, Seen(UNKNOWN, 0)).state not in (*ENDED, UNKNOWN)

    def _is_told(self, command: list[str]) -> bool:
        """Whether SLURM took it; if not, it is told again after a while."""
        try:
            _answer(command)
        except RunError:
            self._next_tell = time.time() + SECONDS_BETWEEN_LOOKS
            return False
        return True

    def _look(self) -> None:
        self._tried = time.time()
        fields = "JobID:|,State:|,exit_code:|,Name:200"
        answer = _answer(["squeue", "--me", "--states=all", "--noheader", f"--Format={fields}"])
        rows = [line.split("|", 3) for line in answer.splitlines() if line.count("|") >= 3]
        seen = {number: Seen(state, _exit_code(status)) for number, state, status, _ in rows}
        active = {number for number, before in self._seen.items() if before.state not in (*ENDED, UNKNOWN)}
        gone = sorted(active - seen.keys())
        self._seen |= dict.fromkeys(gone, Seen(UNKNOWN, 0)) | _remembered(gone) | seen
        self._names = {number: name.strip() for number, _, _, name in rows}
        self._looked = self._tried


def _remembered(numbers: list[str]) -> dict[str, Seen]:
    """What the accounting, where there is one, knows of jobs that the controller has forgotten."""
    if not numbers or shutil.which("sacct") is None:
        return {}
    fields = ["--noheader", "--parsable2", "--allocations", "--format=JobID,State,ExitCode"]
    try:
        answer = _answer(["sacct", *fields, f"--jobs={','.join(numbers)}"])
    except RunError:
        return {}
    seen = {}
    for number, state, code in (line.split("|") for line in answer.splitlines() if line.count("|") == 2):
        status, _, by_signal = code.partition(":")
        waited = int(status) << 8 | int(by_signal or 0) if (status + by_signal).isdigit() else ""
        seen[number] = Seen(state.partition(" ")[0], _exit_code(waited))
    return seen


def _exit_code(status: str | int) -> int:
    """A script's exit code from what wait(2) says of it; what a shell says of a signal counts as the signal."""
    try:
        code = os.waitstatus_to_exitcode(int(status))
    except (ValueError, OverflowError):
        return 1  # it has none, as a job of another user's program that SLURM has no code of
    return 128 - code if code > 128 else code


def _answer(command: list[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={name: value for name, value in standalone.environment().items() if not OF_A_PERSON.match(name)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
            start_new_session=True,  # a terminal's Ctrl-C is for the sweep alone
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{command[0]}: {error}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"{command[0]} ended with exit code {done.returncode}"]
        raise RunError(said[-1])
    return done.stdout
