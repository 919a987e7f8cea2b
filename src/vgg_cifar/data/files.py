"""CIFAR's own files: found or downloaded, verified, and read without running anything inside them."""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import os
import pickle
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import torch

from vgg_cifar.data.dataset import Dataset, Split
from vgg_cifar.data.sources import SOURCES, Source
from vgg_cifar.errors import UserError, first_line

log = logging.getLogger(__name__)

LARGEST = 2**28
"""Bytes; every file and archive is smaller."""
PATIENCE = 60
"""Seconds without a byte after which a server is given up."""


def load(name: str, root: Path, *, download: bool) -> Dataset:
    """Read a CIFAR data set from `root`, fetching it first if it is missing and may be fetched.

    Args:
        name: a key of `SOURCES`.
        root: the folder that holds (or will hold) the data set's own folder; torchvision uses the same layout.
        download: whether the network may be used.

    Raises:
        UserError: if files are missing, damaged, or cannot be downloaded.
    """
    source = SOURCES[name]
    folder = root / source.folder
    source.refuse_missing_files(root, download=download)
    if not source.is_complete(root):
        _obtain(source, root)
    archive = root / source.archive
    contents = {file: _verified(folder / file, digest, archive) for file, digest in source.files.items()}
    meta = _read(contents[next(iter(source.meta))], folder / next(iter(source.meta)))
    train, train_coarse = _images(source, contents, list(source.train), folder)
    test, _ = _images(source, contents, list(source.test), folder)
    superclass_of = None
    if train_coarse is not None:
        superclass_of = torch.zeros(len(meta[source.classes]), dtype=torch.int64)
        superclass_of[train.labels] = train_coarse
    return Dataset(
        train=train,
        test=test,
        classes=list(meta[source.classes]),
        superclasses=list(meta.get("coarse_label_names", [])),
        superclass_of=superclass_of,
        hashes={f"{source.folder}/{file}": digest for file, digest in source.files.items()},
    )


def _obtain(source: Source, root: Path) -> None:
    """Unpack the archive in `root`, after downloading it if needed; one process at a time."""
    archive = root / source.archive
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(source, root) as aside:
            if source.is_complete(root):
                return
            if not archive.is_file():
                _download(source, aside / source.archive)
                (aside / source.archive).replace(archive)
            _unpack(source, _verified(archive, source.archive_sha256), aside, root)
    except DownloadError as error:
        raise UserError(f"{source.missing(root)} and the download failed ({error}); {source.remedy}") from error
    except (OSError, EOFError, tarfile.TarError, KeyError) as error:
        raise UserError(
            f"data.root: {archive} cannot be unpacked into {root}: {first_line(error)}; put that right, "
            "or name another folder"
        ) from error


@contextmanager
def _alone(source: Source, root: Path) -> Iterator[Path]:
    """A new folder in `root` for what is half done, while no other process obtains the same files there.

    What processes that were killed left behind is removed. A link in the lock's place is not followed.
    """
    started = f".{source.folder}.partial-"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(os.open(root / f".{source.folder}.lock", flags, 0o666)) as lock:  # noqa: PTH123
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("Another process is getting %s in %s; waiting for it ...", source.archive, root)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in root.glob(f"{started}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=started, dir=root) as aside:
            yield Path(aside)


class DownloadError(Exception):
    """The archive could not be fetched."""


def _download(source: Source, file: Path) -> None:
    """Fetch the archive, whole and as its authors made it.

    Raises:
        DownloadError: if that is not what comes.
        OSError: if it cannot be written.
    """
    from rich.progress import wrap_file

    url = source.url + source.archive
    log.info("Downloading %s", url)
    digest, length, expected = hashlib.sha256(), 0, None
    with file.open("wb") as written:
        try:
            with urlopen(Request(url, headers={"User-Agent": "vgg-cifar"}), timeout=PATIENCE) as answer:
                expected = answer.length
                with wrap_file(answer, expected or 0, description=source.archive) as body:
                    while length <= LARGEST and (some := body.read(2**16)):
                        length += len(some)
                        digest.update(some)
                        written.write(some)
        except (OSError, HTTPException, ValueError) as error:
            raise DownloadError(first_line(error)) from error
    if expected is not None and length < expected:
        raise DownloadError(f"it broke off after {length:,} of {expected:,} bytes")
    if digest.hexdigest() != source.archive_sha256:
        raise DownloadError(f"{url} is not what it was: sha256 {digest.hexdigest()[:12]}...")


def _unpack(source: Source, archive: bytes, aside: Path, root: Path) -> None:
    """Take the data set's own files out of the archive, each appearing only once all are whole."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for file in source.files:
            member = tar.getmember(f"{source.folder}/{file}")
            body = tar.extractfile(member) if member.isreg() else None
            if body is None:
                raise tarfile.TarError(f"{member.name} is not a file in it")
            (aside / file).write_bytes(body.read(LARGEST))
    (root / source.folder).mkdir(exist_ok=True)
    for file in source.files:
        (aside / file).replace(root / source.folder / file)


def _verified(path: Path, digest: str, archive: Path | None = None) -> bytes:
    """The file's bytes, once they have the expected checksum.

    Args:
        path: the file.
        digest: SHA-256 or MD5, see `Source.files`.
        archive: what the file comes out of, to be named where it is there.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST)
    except OSError as error:
        raise UserError(f"data.root: {path} cannot be read: {error.strerror or error}") from error
    algorithm = "sha256" if len(digest) == 64 else "md5"
    found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if found != digest:
        source = f": it is taken out of {archive.name} again" if archive is not None and archive.is_file() else ""
        raise UserError(
            f"data.root: {path} is damaged ({algorithm} {found[:12]}..., expected {digest[:12]}...); "
            f"delete it and start again{source}"
        )
    return content


class _PlainUnpickler(pickle.Unpickler):
    """Builds arrays, lists, dicts, strings and numbers, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        }:
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _read(content: bytes, path: Path) -> dict[str, Any]:
    try:
        value = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:
        raise UserError(f"data.root: {path} is refused: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"data.root: {path} is refused: it holds a {type(value).__name__}, not a dict")
    return value


def _images(
    source: Source, contents: dict[str, bytes], files: list[str], folder: Path
) -> tuple[Split, torch.Tensor | None]:
    """The images of some files in order, and their superclasses where the files name any."""
    parts = [_read(contents[file], folder / file) for file in files]
    pixels = np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32)
    labels = torch.tensor([label for part in parts for label in part[source.labels]])
    coarse = None
    if "coarse_labels" in parts[0]:
        coarse = torch.tensor([label for part in parts for label in part["coarse_labels"]])
    return Split(torch.from_numpy(pixels), labels), coarse
