"""A file that one process holds until it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

PATIENCE = 10
"""Tries before a lock is said to be held: somebody may only be looking whether it is."""


class Lock:
    """An exclusive lock (flock) on a file, which need not exist yet; its folder does.

    What somebody laid in the file's place, a link or a pipe, is neither followed nor emptied nor waited for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Hold it from now on; False if another process, or another `Lock` of this one, does.

        Raises:
            OSError: if the file cannot be opened.
        """
        file = self._open(os.O_RDWR | os.O_CREAT)
        for attempt in range(PATIENCE):
            if attempt:
                time.sleep(0.05)
            if _locked(file):
                self._file = file
                return True
        file.close()
        return False

    def release(self) -> None:
        """Give it back, if it is held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def is_held(self) -> bool:
        """Whether a process, this one included, holds it."""
        try:
            with self._open(os.O_RDONLY) as file:
                return not _locked(file)
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def _open(self, flags: int) -> IO[str]:
        return open(os.open(self.path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666))  # noqa: PTH123


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
