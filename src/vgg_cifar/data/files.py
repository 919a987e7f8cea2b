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
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import torch

from vgg_cifar.data.dataset import Dataset, Split
from vgg_cifar.errors import UserError, first_line

log = logging.getLogger(__name__)

LARGEST = 2**28
"""Bytes; every file and archive is smaller."""
PATIENCE = 60
"""Seconds without a byte after which a server is given up."""


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and how its files are known.

    The address and the MD5 sums are torchvision's; the SHA-256 sums were computed from files with those MD5 sums.
    """

    folder: str
    archive: str
    archive_sha256: str
    train: dict[str, str]
    test: dict[str, str]
    meta: dict[str, str]
    labels: str
    classes: str
    url: str = "https://www.cs.toronto.edu/~kriz/"

    @property
    def files(self) -> dict[str, str]:
        """Every file with its checksum: 64 digits are SHA-256, 32 are MD5."""
        return {**self.train, **self.test, **self.meta}


SOURCES = {
    "cifar100": Source(
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        archive_sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        train={"train": "735e79b04f092ca3d2e6d07f368c0a7d70d48c48d28865950cc24454cf45129b"},
        test={"test": "4b67687d9933c4db8f0831104447f15b93774f4f464bd0516f0f0f2ac83b7864"},
        meta={"meta": "a5d4786345c961390f865e93b434dbd5c6904ce880667e0cb888c97d449f28b9"},
        labels="fine_labels",
        classes="fine_label_names",
    ),
    "cifar10": Source(
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        archive_sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        train={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        test={"test_batch": "40351d587109b95175f43aff81a1287e"},
        meta={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
        labels="labels",
        classes="label_names",
    ),
}


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
    if not _complete(source, root):
        _obtain(source, root, download=download)
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


def _complete(source: Source, root: Path) -> bool:
    try:
        return all((root / source.folder / file).is_file() for file in source.files)
    except OSError as error:
        raise UserError(f"data.root: {root} cannot be looked into: {first_line(error)}; name another folder") from error


def _obtain(source: Source, root: Path, *, download: bool) -> None:
    """Unpack the archive in `root`, after downloading it if that is allowed and needed; one process at a time."""
    archive = root / source.archive
    missing = f"data.root: neither {source.folder}/ nor {source.archive} is complete in {root}"
    remedy = f"put {source.url}{source.archive} there, or train on generated images with data=synthetic"
    if not archive.is_file() and not download:
        raise UserError(f"{missing}; allow data.download=true, {remedy}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(source, root) as aside:
            if _complete(source, root):
                return
            if not archive.is_file():
                _download(source, aside / source.archive)
                (aside / source.archive).replace(archive)
            _unpack(source, _verified(archive, source.archive_sha256), aside, root)
    except DownloadError as error:
        raise UserError(f"{missing} and the download failed ({error}); {remedy}") from error
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
