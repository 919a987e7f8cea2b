"""A cluster whose SLURM is `stand_in.py`."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from slurm.stand_in import put

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sacct")


class Queue:
    """Its queue.

    Attributes:
        path: the folder that it is.
        environment: what puts its commands before any others.
        epochs: of a tiny run that is long enough to be told that its time is up.
    """

    epochs = 40

    def __init__(self, folder: Path, minute: float) -> None:
        self.path = folder / "queue"
        self.path.mkdir()
        commands = folder / "commands"
        commands.mkdir()
        for name in COMMANDS:
            stand_in = Path(__file__).with_name("stand_in.py")
            (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {stand_in} {name} "$@"\n')
            (commands / name).chmod(0o755)
        self.environment = {
            "PATH": f"{commands}:{os.environ['PATH']}", "STAND_IN": str(self.path), "STAND_IN_MINUTE": str(minute),
        }  # fmt: skip

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Use its commands in this process."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def jobs(self) -> list[Path]:
        """The jobs that were ever submitted, in their order."""
        folders = sorted(path for path in self.path.iterdir() if path.name.isdigit())
        return [path for path in folders if (path / "state").exists()]

    def states(self) -> list[str]:
        """How they stand."""
        return [(job / "state").read_text() for job in self.jobs()]

    def tell(self, what: str, text: str = "", number: int = 0) -> None:
        """Have something happen to a job, by its place in the order of submission: see `stand_in.py`."""
        put(self.jobs()[number] / what, text)

    def time_is_up(self) -> None:
        """Tell the newest job so."""
        (self.jobs()[-1] / "warn").touch()

    def begins_again(self) -> None:
        """It does so by itself."""

    def calls(self, command: str) -> list[str]:
        """How often a command was called, and with what."""
        file = self.path / "calls.txt"
        return [line for line in file.read_text().splitlines() if line.split()[0] == command] if file.exists() else []

    def close(self) -> None:
        """End what still runs."""
        for job in self.jobs():
            if (job / "state").read_text() in ("PENDING", "RUNNING"):
                for name in ("supervisor", "script_pid"):
                    with suppress(OSError, ValueError):
                        os.killpg(int((job / name).read_text()), signal.SIGKILL)
