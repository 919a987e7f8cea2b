"""A file that one process holds until it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from vgg_cifar.errors import UserError

SECONDS_BETWEEN_TRIES = 0.05


class Lock:
    """An exclusive lock (flock) on a file, which need not exist yet; its folder does.

    What somebody laid in the file's place, a link or a pipe, is neither followed nor emptied nor waited for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def take(self, patience: float = 0.5) -> bool:
        """Hold it from now on; False if another process, or another `Lock` of this one, does.

        Args:
            patience: seconds to try for; somebody may only be looking whether it is held.

        Raises:
            OSError: if the file cannot be opened.
        """
        file = self._open(os.O_RDWR | os.O_CREAT)
        until = time.monotonic() + patience
        while not _locked(self.path, file):
            if time.monotonic() > until:
                file.close()
                return False
            time.sleep(SECONDS_BETWEEN_TRIES)
        self._file = file
        return True

    def release(self) -> None:
        """Give it back, if it is held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def is_held(self) -> bool:
        """Whether a process, this one included, holds it."""
        try:
            with self._open(os.O_RDONLY) as file:
                return not _locked(self.path, file, fcntl.LOCK_SH)  # over NFS a file that is only read takes no other
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def _open(self, flags: int) -> IO[str]:
        return open(os.open(self.path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666))  # noqa: PTH123


def _locked(path: Path, file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise UserError(f"{path}: this file system has no locks ({error.strerror}); choose another") from error
    return True
