"""Which pictures are meant: files, folders, patterns, or what comes through a pipe. Imports nothing heavy."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from vgg_cifar.errors import UserError

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm",
    ".pgm", ".pnm",
)  # fmt: skip
"""By which a folder's images are known; a file that is named may end in anything."""
DEEPER = "**"
LARGEST = 2**28
"""Bytes of standard input."""
TEXT = frozenset(range(32, 256)) | {*b"\t\n\r"}


@dataclass(frozen=True)
class Source:
    """A picture to be looked at.

    Attributes:
        name: of its file, as it was found.
        content: the bytes themselves, if they did not come from a file.
    """

    name: str
    content: bytes | None = None


def find(typed: str, standard_input: IO[bytes]) -> list[Source]:
    """What `images=` stands for, in order: of a folder and of a pattern the names are sorted.

    Args:
        typed: "-" for standard input; a file; a folder, for the images in it; a folder and `/**`, for those at any
            depth; a pattern, in which `**` stands for folders at any depth; or several of these between commas, unless
            a file has just this name.
        standard_input: the bytes of an image, or names of files, one a line.

    Raises:
        UserError: if any of them stands for nothing.
    """
    if typed == "-":
        return _piped(standard_input)
    parts = [typed] if os.path.lexists(_at_home(typed)) else [part.strip() for part in typed.split(",")]
    names = [name for part in parts if part for name in _named(part)]
    if not names:
        raise UserError("images: which ones? images=FILE, images=FOLDER, images='FOLDER/*.png' or images=-")
    return [Source(name) for name in dict.fromkeys(names)]


def _named(part: str) -> list[str]:
    """The files that a name, a folder or a pattern stands for.

    Raises:
        UserError: if there is none.
    """
    path = _at_home(part)
    if os.path.isdir(path):  # noqa: PTH112
        found = sorted(each.path for each in os.scandir(path) if _is_image(each.name) and not each.is_dir())
        if not found:
            raise UserError(
                f"images: {part} holds no image ({', '.join(SUFFIXES)}); {part.rstrip('/')}/** looks deeper"
            )
        return found
    if os.path.lexists(path):
        return [path]
    folder, _, last = path.rpartition("/")
    if last == DEEPER and not glob.has_magic(folder):
        found = sorted(_below(folder or ("/" if path.startswith("/") else ".")))
    else:
        found = sorted(each for each in glob.glob(path, recursive=True) if not os.path.isdir(each))  # noqa: PTH112, PTH207
    if not found:
        raise UserError(f"images: nothing matches {part}")
    return found


def _at_home(name: str) -> str:
    """The name with `~` spelled out; Path would also leave off a `./`, and refuse a user that is not there."""
    return os.path.expanduser(name)  # noqa: PTH111


def _below(top: str) -> Iterator[str]:
    """The images in a folder at any depth; hidden folders are left alone, and links to folders not followed."""
    for where, folders, names in os.walk(top):
        folders[:] = [each for each in folders if not each.startswith(".")]
        yield from (f"{where.rstrip('/')}/{name}".removeprefix("./") for name in names if _is_image(name))


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _piped(standard_input: IO[bytes]) -> list[Source]:
    """The image that comes through a pipe, or those that are named there.

    Raises:
        UserError: if nothing comes, or too much.
    """
    content = standard_input.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UserError(f"images: more than {LARGEST >> 20} MB came on standard input")
    if not TEXT.issuperset(content):  # every kind of image has bytes that no list of names has
        return [Source("-", content)]
    names = [os.fsdecode(line) for line in content.splitlines() if line.strip()]
    if not names:
        raise UserError("images: nothing came on standard input")
    return [Source(name) for name in names]
