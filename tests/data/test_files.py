"""CIFAR's files: found, fetched, verified, and read without running anything that is inside them."""

import hashlib
import io
import multiprocessing
import os
import pickle
import socket
import struct
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR100

from vgg_cifar.data import files
from vgg_cifar.data.dataset import Dataset
from vgg_cifar.errors import UserError


class AuthorsPickler(pickle._Pickler):
    """Writes what Python 2 wrote, as the authors' files have it: texts and the contents of arrays are byte strings."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_text(self, value: str | bytes) -> None:
        content = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_text


def python_2(content: Any) -> bytes:
    written = io.BytesIO()
    AuthorsPickler(written, protocol=2).dump(content)
    return written.getvalue().replace(b"numpy._core", b"numpy.core")


def python_3(content: Any) -> bytes:
    return pickle.dumps(content, protocol=4)


Write = Callable[[Any], bytes]


@dataclass
class Miniature:
    """A data set of a few images in the authors' layout, as a folder and as an archive.

    Attributes:
        root: holds both.
        source: how the package knows its files.
        contents: what each file holds.
    """

    root: Path
    source: files.Source
    contents: dict[str, dict[str, Any]]

    @property
    def folder(self) -> Path:
        return self.root / self.source.folder

    @property
    def archive(self) -> Path:
        return self.root / self.source.archive

    def keep_only_the_archive(self) -> None:
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()

    def images(self, *names: str) -> torch.Tensor:
        """The images of some files, put together by hand: a row is all red, then all green, then all blue."""
        rows = np.concatenate([self.contents[name]["data"] for name in names])
        return torch.tensor(
            [
                [[[row[1024 * c + 32 * y + x] for x in range(32)] for y in range(32)] for c in range(3)]
                for row in rows.tolist()
            ],
            dtype=torch.uint8,
        )


def part(count: int, seed: int, **lists: list[int]) -> dict[str, Any]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    return {"data": pixels, "batch_label": f"part {seed}", "filenames": [f"{i}.png" for i in range(count)], **lists}


def archive(path: Path, members: dict[str, bytes]) -> str:
    """Write an archive and return its SHA-256."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make(
    monkeypatch: pytest.MonkeyPatch, root: Path, name: str, contents: dict[str, Any], write: Write = python_3
) -> Miniature:
    """Write a data set's files and let the package know them under its name."""
    original = files.SOURCES[name]
    written = {file: write(content) for file, content in contents.items()}
    algorithms = {file: "sha256" if len(digest) == 64 else "md5" for file, digest in original.files.items()}

    def digests(group: dict[str, str]) -> dict[str, str]:
        return {file: hashlib.new(algorithms[file], written[file]).hexdigest() for file in group}

    root.mkdir(exist_ok=True)
    (root / original.folder).mkdir()
    for file, content in written.items():
        (root / original.folder / file).write_bytes(content)
    members = {f"{original.folder}/{file}": content for file, content in written.items()}
    source = replace(
        original,
        train=digests(original.train),
        test=digests(original.test),
        meta=digests(original.meta),
        archive_sha256=archive(root / original.archive, members),
        url="file:///nowhere/at/all/",
    )
    monkeypatch.setitem(files.SOURCES, name, source)
    return Miniature(root, source, contents)


def cifar100_contents() -> dict[str, dict[str, Any]]:
    fine = [2, 0, 1, 3, 3, 2]
    return {
        "train": part(6, 1, fine_labels=fine, coarse_labels=[1 - label % 2 for label in fine]),
        "test": part(3, 2, fine_labels=[3, 1, 0], coarse_labels=[0, 0, 1]),
        "meta": {"fine_label_names": ["ant", "bed", "cat", "day"], "coarse_label_names": ["odd", "even"]},
    }


@pytest.fixture
def miniature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Miniature:
    """Four classes in two superclasses, under the name and in the layout of CIFAR-100."""
    return make(monkeypatch, tmp_path / "data", "cifar100", cifar100_contents())


def assert_complete(dataset: Dataset, miniature: Miniature) -> None:
    train, test, meta = (miniature.contents[name] for name in ("train", "test", "meta"))
    assert torch.equal(dataset.train.images, miniature.images("train"))
    assert torch.equal(dataset.test.images, miniature.images("test"))
    assert dataset.train.labels.tolist() == train["fine_labels"]
    assert dataset.test.labels.tolist() == test["fine_labels"]
    assert dataset.classes == meta["fine_label_names"]
    assert dataset.superclasses == meta["coarse_label_names"]
    assert dataset.superclass_of is not None
    assert dataset.superclass_of[dataset.train.labels].tolist() == train["coarse_labels"]
    assert dataset.superclass_of[dataset.test.labels].tolist() == test["coarse_labels"]


def mistake(root: Path, *, download: bool = False, name: str = "cifar100") -> str:
    """The one line that a user reads when loading fails."""
    with pytest.raises(UserError) as caught:
        files.load(name, root, download=download)
    message = str(caught.value)
    assert message.startswith("data.root: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("write", [python_2, python_3])
def test_a_folder_is_read_whole_as_the_authors_wrote_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: Write
) -> None:
    miniature = make(monkeypatch, tmp_path / "data", "cifar100", cifar100_contents(), write)
    miniature.archive.unlink()
    dataset = files.load("cifar100", miniature.root, download=False)
    assert_complete(dataset, miniature)
    assert dataset.train.images.dtype == torch.uint8
    assert dataset.train.labels.dtype == torch.int64


def test_an_archive_alone_is_unpacked_beside_itself_and_not_needed_again(miniature: Miniature) -> None:
    miniature.keep_only_the_archive()
    assert_complete(files.load("cifar100", miniature.root, download=False), miniature)
    miniature.archive.unlink()
    assert_complete(files.load("cifar100", miniature.root, download=False), miniature)


def test_a_folder_with_a_file_missing_is_completed_from_the_archive(miniature: Miniature) -> None:
    (miniature.folder / "test").unlink()
    assert_complete(files.load("cifar100", miniature.root, download=False), miniature)


def test_cifar10_is_put_together_from_its_parts_and_has_no_superclasses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [f"data_batch_{number}" for number in range(1, 6)]
    contents = {name: part(2, seed, labels=[seed, 9 - seed]) for seed, name in enumerate(names)}
    contents["test_batch"] = part(3, 9, labels=[3, 1, 0])
    contents["batches.meta"] = {"label_names": [f"class {c}" for c in range(10)]}
    miniature = make(monkeypatch, tmp_path / "data", "cifar10", contents)
    dataset = files.load("cifar10", miniature.root, download=False)
    assert torch.equal(dataset.train.images, miniature.images(*names))
    assert dataset.train.labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert torch.equal(dataset.test.images, miniature.images("test_batch"))
    assert dataset.test.labels.tolist() == [3, 1, 0]
    assert dataset.classes == contents["batches.meta"]["label_names"]
    assert dataset.superclasses == []
    assert dataset.superclass_of is None


def test_the_checksums_that_go_into_a_manifest_are_those_of_the_files(miniature: Miniature) -> None:
    dataset = files.load("cifar100", miniature.root, download=False)
    assert dataset.hashes == {
        f"{miniature.folder.name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for file in miniature.folder.iterdir()
    }


@pytest.mark.parametrize("name", ["train", "test", "meta", "cifar-100-python.tar.gz"])
def test_one_wrong_byte_is_found_and_its_file_is_named(miniature: Miniature, name: str) -> None:
    if name == miniature.source.archive:
        miniature.keep_only_the_archive()
        damaged = miniature.archive
    else:
        damaged = miniature.folder / name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert f"{damaged} is damaged" in mistake(miniature.root)


def test_missing_files_that_may_not_be_fetched_are_one_line_that_says_what_helps(tmp_path: Path) -> None:
    root = tmp_path / "nothing here"
    message = mistake(root, download=False)
    source = files.SOURCES["cifar100"]
    for hint in (str(root), source.folder, source.url + source.archive, "data.download=true", "data=synthetic"):
        assert hint in message
    assert list(tmp_path.iterdir()) == []


WAYS_TO_FAIL = {
    "unplugged": "Connection reset",
    "cut": "it broke off after 10 of 1,000 bytes",
    "held": "timed out",
    "endless": "is not what it was",
}
"""What each looks like to a user: a reset, an end too early, silence, and more than any archive has."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, miniature: Miniature) -> Iterator[Path]:
    """The miniature's source, on this machine: what lies in this folder is what it serves.

    A file named as one of `WAYS_TO_FAIL` there makes it send ten bytes, and then fail so. It writes a dot into the file
    `asked` each time.
    """
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            with (folder / "asked").open("a") as asked:
                asked.write(".")
            ways = [way for way in WAYS_TO_FAIL if (folder / way).exists()]
            if not ways:
                super().do_GET()
                return
            self.send_response(200)
            if ways != ["endless"]:
                self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"some of it")
            self.wfile.flush()
            while (folder / "held").exists():
                time.sleep(0.01)
            with suppress(OSError):
                while (folder / "endless").exists():
                    self.wfile.write(bytes(2**16))
            if ways == ["unplugged"]:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())  # a reset, not an end

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as listening:
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}).start()
        url = f"http://127.0.0.1:{listening.server_port}/"
        monkeypatch.setitem(files.SOURCES, "cifar100", replace(miniature.source, url=url))
        yield folder
        for way in WAYS_TO_FAIL:
            (folder / way).unlink(missing_ok=True)
        listening.shutdown()


def test_missing_files_are_fetched_where_that_is_allowed(tmp_path: Path, miniature: Miniature, server: Path) -> None:
    miniature.archive.rename(server / miniature.archive.name)
    assert_complete(files.load("cifar100", tmp_path / "fetched", download=True), miniature)


def obtaining(root: Path) -> multiprocessing.process.BaseProcess:
    """Another process that gets the files."""
    process = multiprocessing.get_context("fork").Process(
        target=files.load, args=("cifar100", root), kwargs={"download": True}
    )
    process.start()
    return process


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def half_done(root: Path) -> list[Path]:
    """What a process needs while it gets the files."""
    return list(root.glob("*partial*"))


@pytest.mark.parametrize(("way", "reason"), [(None, "HTTP Error 404"), *WAYS_TO_FAIL.items()])
def test_a_download_that_fails_is_one_line_and_leaves_nothing_half_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Path, way: str | None, reason: str
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.2)
    monkeypatch.setattr(files, "LARGEST", 2**20)
    if way:
        (server / way).touch()
    message = mistake(tmp_path / "fetched", download=True)
    assert "the download failed (" in message
    assert reason in message
    assert "data=synthetic" in message
    assert [path.name for path in (tmp_path / "fetched").iterdir()] == [".cifar-100-python.lock"]


def test_a_download_that_brings_something_else_is_refused(tmp_path: Path, miniature: Miniature, server: Path) -> None:
    archive(server / miniature.archive.name, {f"{miniature.source.folder}/train": b"something else"})
    message = mistake(tmp_path / "fetched", download=True)
    assert "is not what it was" in message
    assert [path.name for path in (tmp_path / "fetched").iterdir()] == [".cifar-100-python.lock"]


def test_a_download_that_was_killed_starts_again(tmp_path: Path, miniature: Miniature, server: Path) -> None:
    root = tmp_path / "fetched"
    (server / "held").touch()
    killed = obtaining(root)
    wait_until(lambda: (server / "asked").exists() and bool(half_done(root)))
    killed.kill()
    killed.join()
    assert half_done(root)
    (server / "held").unlink()
    miniature.archive.rename(server / miniature.archive.name)
    assert_complete(files.load("cifar100", root, download=True), miniature)
    assert not half_done(root)


def test_of_two_processes_one_downloads_and_both_have_the_files(
    tmp_path: Path, miniature: Miniature, server: Path
) -> None:
    root = tmp_path / "fetched"
    miniature.archive.rename(server / miniature.archive.name)
    both = [obtaining(root), obtaining(root)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (server / "asked").read_text() == "."


def in_its_place(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "folder":
        path.mkdir()
        (path / "something").touch()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.name)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to itself"])
@pytest.mark.parametrize("name", ["train", "cifar-100-python.tar.gz"])
def test_what_is_no_file_is_neither_read_nor_waited_for(miniature: Miniature, name: str, kind: str) -> None:
    if name == "train":
        miniature.archive.unlink()
    else:
        miniature.keep_only_the_archive()
    in_its_place(miniature.folder / name if name == "train" else miniature.archive, kind)
    assert "neither" in mistake(miniature.root)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to itself"])
def test_what_is_no_file_gives_way_to_what_the_archive_has_unless_it_holds_something(
    miniature: Miniature, kind: str
) -> None:
    in_its_place(miniature.folder / "train", kind)
    if kind == "folder":
        assert "Is a directory" in mistake(miniature.root)
        assert (miniature.folder / "train" / "something").exists()
    else:
        assert_complete(files.load("cifar100", miniature.root, download=False), miniature)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_lock_that_was_laid_as_a_trap_neither_hangs_nor_overwrites(miniature: Miniature, kind: str) -> None:
    miniature.keep_only_the_archive()
    lock, victim = miniature.root / ".cifar-100-python.lock", miniature.root / "victim"
    victim.write_text("dear")
    if kind == "pipe":
        os.mkfifo(lock)
        assert_complete(files.load("cifar100", miniature.root, download=False), miniature)
    else:
        lock.symlink_to(victim)
        assert "symbolic links" in mistake(miniature.root)
    assert victim.read_text() == "dear"


@pytest.mark.parametrize("root", ["/proc/nowhere", "/dev/null", f"/{'x' * 300}"], ids=lambda root: root[:20])
def test_a_place_that_cannot_be_written_to_is_one_line(root: str) -> None:
    message = mistake(Path(root), download=True)
    assert root in message
    assert "name another folder" in message


@pytest.mark.parametrize("left", [0, 1, 100])
def test_an_archive_that_was_cut_off_is_damaged(miniature: Miniature, left: int) -> None:
    miniature.keep_only_the_archive()
    miniature.archive.write_bytes(miniature.archive.read_bytes()[:left])
    assert f"{miniature.archive} is damaged" in mistake(miniature.root)
    assert not miniature.folder.exists()


def test_a_damaged_file_beside_its_archive_is_told_to_come_again(miniature: Miniature) -> None:
    (miniature.folder / "test").write_bytes(b"")
    assert f"it is taken out of {miniature.archive.name} again" in mistake(miniature.root)
    (miniature.folder / "test").unlink()
    assert_complete(files.load("cifar100", miniature.root, download=False), miniature)


@pytest.mark.parametrize("name", ["train", "cifar-100-python.tar.gz"])
def test_a_huge_file_is_damaged_and_not_read_to_its_end(miniature: Miniature, name: str) -> None:
    if name == "train":
        huge = miniature.folder / name
    else:
        huge = miniature.archive
        miniature.keep_only_the_archive()
    with huge.open("w") as file:
        file.truncate(2**40)
    assert f"{huge} is damaged" in mistake(miniature.root)


class Command:
    """Pickled, this is an order to call something when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.order = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.order


@pytest.mark.parametrize("known", [True, False], ids=["right checksum", "wrong checksum"])
@pytest.mark.parametrize("disguise", ["whole file", "one label"])
@pytest.mark.parametrize("file", ["train", "meta"])
def test_a_command_hidden_in_a_file_is_refused_and_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, disguise: str, known: bool, figure: Callable[..., None]
) -> None:
    marker = tmp_path / "the command has run"
    command: Any = Command(os.system, f"touch '{marker}'")
    contents: dict[str, Any] = cifar100_contents()
    if disguise == "whole file":
        contents[file] = command
    else:
        contents[file]["fine_labels"] = [command]
    miniature = make(monkeypatch, tmp_path / "data", "cifar100", contents if known else cifar100_contents())
    hidden = python_3(contents[file])
    (miniature.folder / file).write_bytes(hidden)
    message = mistake(miniature.root)
    assert str(miniature.folder / file) in message
    assert ("is refused" if known else "is damaged") in message
    assert not marker.exists()
    pickle.loads(hidden)  # the command was a live one
    assert marker.exists()
    figure("files with a live command in them: refused, the command not run", 1)


@pytest.mark.parametrize("function", [eval, exec, getattr, open, np.load, np.memmap])
def test_nothing_but_arrays_and_plain_values_is_ever_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, function: Callable[..., Any]
) -> None:
    contents: dict[str, Any] = cifar100_contents()
    contents["meta"]["extra"] = Command(function, "x")
    miniature = make(monkeypatch, tmp_path / "data", "cifar100", contents)
    assert f"{miniature.folder / 'meta'} is refused" in mistake(miniature.root)


@pytest.mark.parametrize("content", [["a", "list"], "a word", 3])
def test_a_file_that_holds_no_table_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: Any) -> None:
    miniature = make(monkeypatch, tmp_path / "data", "cifar100", cifar100_contents() | {"train": content})
    message = mistake(miniature.root)
    assert f"{miniature.folder / 'train'} is refused" in message
    assert type(content).__name__ in message


@pytest.mark.parametrize("stray", ["../escaped", "cifar-100-python/../../escaped", "{outside}/escaped"])
def test_an_archive_cannot_write_outside_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, miniature: Miniature, stray: str
) -> None:
    stray = stray.format(outside=tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    members = {f"{miniature.source.folder}/{file.name}": file.read_bytes() for file in miniature.folder.iterdir()}
    digest = archive(miniature.archive, {stray: b"escaped", **members})
    miniature.keep_only_the_archive()
    monkeypatch.setitem(files.SOURCES, "cifar100", replace(miniature.source, archive_sha256=digest))
    assert_complete(files.load("cifar100", miniature.root, download=False), miniature)
    assert not list(tmp_path.rglob("escaped"))


def test_an_archive_cannot_write_through_a_link_that_leads_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, miniature: Miniature
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    contents = {file.name: file.read_bytes() for file in miniature.folder.iterdir()}
    miniature.keep_only_the_archive()
    with tarfile.open(miniature.archive, "w:gz") as tar:
        link = tarfile.TarInfo(miniature.source.folder)
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        tar.addfile(link)
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{miniature.source.folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    digest = hashlib.sha256(miniature.archive.read_bytes()).hexdigest()
    monkeypatch.setitem(files.SOURCES, "cifar100", replace(miniature.source, archive_sha256=digest))
    assert_complete(files.load("cifar100", miniature.root, download=False), miniature)
    assert not miniature.folder.is_symlink()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE],
    ids=["symbolic link", "hard link", "device", "pipe", "folder"],
)
def test_an_archive_brings_nothing_but_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, miniature: Miniature, kind: bytes
) -> None:
    contents = {file.name: file.read_bytes() for file in miniature.folder.iterdir()}
    miniature.keep_only_the_archive()
    outside = tmp_path / "meta"
    outside.write_bytes(contents["meta"])
    with tarfile.open(miniature.archive, "w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{miniature.source.folder}/{name}")
            if name == "meta":
                member.type, member.linkname = kind, str(outside)
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    digest = hashlib.sha256(miniature.archive.read_bytes()).hexdigest()
    monkeypatch.setitem(files.SOURCES, "cifar100", replace(miniature.source, archive_sha256=digest))
    assert "cifar-100-python/meta is not a file in it" in mistake(miniature.root)
    assert not miniature.folder.exists()
    assert not half_done(miniature.root)
    assert outside.stat().st_nlink == 1


@pytest.fixture(scope="module")
def real(real_data: Path) -> Dataset:
    """What the miniature stands for; skipped where it is not."""
    return files.load("cifar100", real_data, download=False)


def test_the_real_files_hold_500_training_and_100_test_images_of_each_class(real: Dataset) -> None:
    assert real.train.images.shape == (50_000, 3, 32, 32)
    assert real.test.images.shape == (10_000, 3, 32, 32)
    assert torch.bincount(real.train.labels).tolist() == [500] * 100
    assert torch.bincount(real.test.labels).tolist() == [100] * 100


def test_the_real_files_name_100_classes_in_20_superclasses_of_five(real: Dataset) -> None:
    assert len(set(real.classes)) == 100
    assert len(set(real.superclasses)) == 20
    assert real.superclass_of is not None
    assert torch.bincount(real.superclass_of).tolist() == [5] * 20
    trees = [name for name, s in zip(real.classes, real.superclass_of, strict=True) if real.superclasses[s] == "trees"]
    assert trees == ["maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"]


@pytest.mark.parametrize("name", ["train", "test"])
def test_the_real_files_are_read_as_torchvision_reads_them(real: Dataset, real_data: Path, name: str) -> None:
    ours = getattr(real, name)
    theirs = CIFAR100(str(real_data), train=name == "train", download=False)
    assert ours.labels.tolist() == theirs.targets
    assert torch.equal(ours.images, torch.from_numpy(theirs.data).permute(0, 3, 1, 2))
    assert real.classes == theirs.classes
