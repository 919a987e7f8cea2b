"""A run's checkpoints on disk: whole or not there, known by a checksum, the one before kept.

A checkpoint is what `torch.save` writes, a zip file; the checksum is that file's comment, so that it cannot be parted
from it and every reader of such files takes it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from vgg_cifar.errors import RunError, UserError
from vgg_cifar.limits import refuse_to_swell
from vgg_cifar.runs.folder import RunFolder, why_not

log = logging.getLogger(__name__)

END = struct.Struct("<4s4H2LH")
"""The last record of a zip file: signature, six numbers, length of the comment that follows."""
SIGNATURE = b"PK\x05\x06"
LABEL = b"sha256:"
COMMENT = len(LABEL) + 64


def write(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint with its checksum and wait until the disk has it.

    Raises:
        RunError: if it cannot be written; what was written of it is gone.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)  # nothing is written through a link that somebody laid
        torch.save(content, path)
        with path.open("r+b") as file:
            file.seek(-2, os.SEEK_END)
            file.write(struct.pack("<H", COMMENT))
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0, os.SEEK_END)
            file.write(LABEL + digest.encode())
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch's writer has no other word for a full disk
        why = why_not(error, path.parent)
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise RunError(f"no checkpoint can be written to {path.parent}: {why}") from error


def place(folder: RunFolder, *, last: bool, best: bool, of_epoch: int | None = None, instead: bool = False) -> None:
    """Give a new checkpoint its names; the last one before it becomes `previous.ckpt`, or is replaced.

    That of an epoch stays beside them, as `epoch_N.ckpt`.

    At every moment there is a whole `last.ckpt`, if there was one, and it never knows of a better one than `best.ckpt`.

    Raises:
        RunError: if the folder does not take it.
    """
    new = folder.checkpoint(".new")
    try:
        if best:
            _name_too(new, folder.checkpoint("best"))
        if of_epoch is not None:
            _name_too(new, folder.checkpoint(f"epoch_{of_epoch}"))
        if last:
            if folder.checkpoint("last").exists() and not instead:
                _name_too(folder.checkpoint("last"), folder.checkpoint("previous"))
            new.replace(folder.checkpoint("last"))
        else:
            new.unlink()
        _flush(folder.checkpoints)
    except OSError as error:
        raise RunError(
            f"no checkpoint can be kept in {folder.checkpoints}: {why_not(error, folder.checkpoints)}"
        ) from error


def read(path: Path) -> dict[str, Any]:
    """A checkpoint as plain data on the CPU.

    Raises:
        UserError: if it is damaged, or holds more than plain data.
    """
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        _verify(path)
        refuse_to_swell(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path} is refused: it is damaged, or holds more than plain data") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no checkpoint: it holds a {type(content).__name__}")
    return content


def checksum(path: Path) -> str:
    """The SHA-256 of a checkpoint's file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def newest(folder: RunFolder) -> tuple[str, dict[str, Any]] | None:
    """The name and the content of the checkpoint to go on from: the last one, or the one before if that is damaged.

    A damaged one is put aside as `last.damaged`. None where a run left neither.

    Raises:
        UserError: if all that are there are damaged.
    """
    damaged = None
    for name in ("last", "previous"):
        if not os.path.lexists(folder.checkpoint(name)):
            continue
        try:
            content = read(folder.checkpoint(name))
        except UserError as error:
            damaged = error
            continue
        if damaged is not None:
            log.warning("%s; going on from %s, the one before", damaged, folder.checkpoint(name).name)
            with suppress(FileNotFoundError):  # another rank has done so
                folder.checkpoint("last").replace(folder.checkpoint("last").with_suffix(".damaged"))
        return name, content
    if damaged is not None:
        raise UserError(f"{damaged}; there is no other to go on from: start a new run") from damaged
    return None


def _name_too(file: Path, name: Path) -> None:
    """Let a file have a second name at once, whoever had that name before."""
    beside = name.with_name(f".{name.name}")
    beside.unlink(missing_ok=True)
    try:
        os.link(file, beside)
    except OSError:  # not every file system has hard links
        shutil.copyfile(file, beside)
        _flush(beside)
    beside.replace(name)


def _flush(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _verify(path: Path) -> None:
    """Raise ValueError unless the file is as it was written; one without any checksum is taken as it is."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size >= END.size + COMMENT:
            file.seek(size - END.size - COMMENT)
            signature, *_, length = END.unpack(file.read(END.size))
            if signature == SIGNATURE and length == COMMENT:
                stated = file.read()
                found = hashlib.sha256()
                file.seek(0)
                left = size - COMMENT
                while left:
                    piece = file.read(min(left, 1 << 20))
                    found.update(piece)
                    left -= len(piece)
                if stated != LABEL + found.hexdigest().encode():
                    raise ValueError("its checksum is another")
                return
        file.seek(max(0, size - END.size))
        signature, *_, length = END.unpack(file.read(END.size))
        if signature != SIGNATURE or length:
            raise ValueError("its end is missing")
