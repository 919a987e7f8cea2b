"""What reading may cost: a few lines of YAML can stand for more than any machine holds."""

from __future__ import annotations

import gc
import os
import resource
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vgg_cifar.errors import UserError

SECONDS = 5
"""Of computing, not of waiting; what people write takes a fraction of one."""
MEMORY = 2**30
"""Bytes beside what the process holds already."""


class _TooLong(BaseException):
    """Not an Exception, so that no library takes it for a fault of its own."""


@contextmanager
def bounded(what: str) -> Iterator[None]:
    """Give up on work that takes more than `SECONDS` or `MEMORY`; for the main thread, and not to be nested.

    Args:
        what: is read, for the error.

    Raises:
        UserError: if it takes more.
    """
    over = False

    def give_up(*_: Any) -> None:
        nonlocal over
        over = True
        raise _TooLong

    before = signal.signal(signal.SIGVTALRM, give_up)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    try:
        gc.disable()  # what it frees may belong to anybody, and cannot be given up on
        _limit_memory(limits)
        # Again and again, since the first may come where Python cannot raise.
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, 1)
        yield
    except BaseException as error:
        if not over and not _of_memory(error):
            raise
        raise UserError(
            f"{what}: takes more than {SECONDS} s or {MEMORY >> 20} MB to read; look for a large file, or for &anchors "
            "and ${...} that multiply"
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        gc.enable()
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGVTALRM, before)


def refuse_to_swell(path: Path) -> None:
    """Look at a checkpoint before torch makes room for whatever it claims to unpack to; torch itself packs nothing.

    Raises:
        ValueError: if it is larger unpacked than it is on disk.
        OSError: if it cannot be read.
    """
    if not path.is_file() or not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > path.stat().st_size:
        raise ValueError(f"it would swell to {size:,} bytes")


def _of_memory(error: BaseException | None) -> bool:
    """Whether it comes of a lack of memory, whatever a library has made of that."""
    return error is not None and (isinstance(error, MemoryError) or _of_memory(error.__cause__ or error.__context__))


def _limit_memory(limits: tuple[int, int]) -> None:
    soft, hard = limits
    with suppress(OSError, ValueError):  # a system without /proc, or one that sets no such limit
        held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        wanted = held + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (wanted if soft == resource.RLIM_INFINITY else min(soft, wanted), hard))
