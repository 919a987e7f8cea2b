"""Which pictures are meant by `images=`."""

import io
import os
from pathlib import Path

import pytest

from vgg_cifar.errors import UserError
from vgg_cifar.prediction import files
from vgg_cifar.prediction.files import find

TREE = (
    "b.png", "a.JPG", "c.txt", ".hidden.png", "x,y.png", "[1].png", "sub/d.webp", "sub/deep/e.gif", ".git/f.png",
    "sub/notes.md",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TREE:
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_bytes(b"x")
    (tmp_path / "t" / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path / "t")
    monkeypatch.setenv("HOME", str(tmp_path))


def names(typed: str, piped: bytes = b"") -> list[str]:
    return [each.name for each in find(typed, io.BytesIO(piped))]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("b.png", ["b.png"]),
        ("c.txt", ["c.txt"]),
        (".", ["./[1].png", "./a.JPG", "./b.png", "./x,y.png"]),
        ("sub", ["sub/d.webp"]),
        ("sub/", ["sub/d.webp"]),
        ("sub/**", ["sub/d.webp", "sub/deep/e.gif"]),
        ("**", ["[1].png", "a.JPG", "b.png", "sub/d.webp", "sub/deep/e.gif", "x,y.png"]),
        ("./**", ["[1].png", "a.JPG", "b.png", "sub/d.webp", "sub/deep/e.gif", "x,y.png"]),
        ("*.png", ["[1].png", "b.png", "x,y.png"]),
        ("**/*.gif", ["sub/deep/e.gif"]),
        ("s*/*", ["sub/d.webp", "sub/notes.md"]),
        ("[1].png", ["[1].png"]),
        ("[ab].*", ["a.JPG", "b.png"]),
        ("x,y.png", ["x,y.png"]),
        ("b.png,a.JPG", ["b.png", "a.JPG"]),
        ("b.png, sub ,*.png", ["b.png", "sub/d.webp", "[1].png", "x,y.png"]),
    ],
)
def test_names_folders_and_patterns(typed: str, expected: list[str]) -> None:
    assert names(typed) == expected


def test_a_home_folder_is_found(tmp_path: Path) -> None:
    assert names("~/t/b.png") == [f"{tmp_path}/t/b.png"]
    assert names("~/t/sub/**") == [f"{tmp_path}/t/sub/d.webp", f"{tmp_path}/t/sub/deep/e.gif"]


def test_a_link_that_leads_back_is_not_followed_for_ever(tmp_path: Path) -> None:
    Path("sub/loop").symlink_to(tmp_path / "t")
    assert names("sub/**") == ["sub/d.webp", "sub/deep/e.gif"]


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "images: which ones?"),
        (" , ", "images: which ones?"),
        ("nowhere.png", "images: nothing matches nowhere.png"),
        ("*.bmp", r"images: nothing matches \*\.bmp"),
        ("b.png,nowhere.png", "images: nothing matches nowhere.png"),
        ("folder.png", r"images: folder\.png holds no image .*; folder\.png/\*\* looks deeper"),
        ("folder.png/**", r"images: nothing matches folder\.png/\*\*"),
        ("a\0b", "images: nothing matches"),
        ("[", r"images: nothing matches \["),
    ],
)
def test_what_stands_for_nothing_is_named(typed: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        names(typed)


def test_names_come_through_a_pipe(tmp_path: Path) -> None:
    assert names("-", b"b.png\nc d.png\r\n\n*.png\n") == ["b.png", "c d.png", "*.png"]
    assert names("-", "é.png\n".encode() + b"\xff.png\n") == ["é.png", os.fsdecode(b"\xff.png")]


def test_an_image_comes_through_a_pipe() -> None:
    content = b"\x89PNG\r\n\x1a\n\0\0"
    (found,) = find("-", io.BytesIO(content))
    assert (found.name, found.content) == ("-", content)


def test_a_pipe_without_an_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST", 1 << 20)
    with Path("/dev/zero").open("rb") as endless, pytest.raises(UserError, match="more than 1 MB"):
        find("-", endless)
    with pytest.raises(UserError, match="nothing came on standard input"):
        find("-", io.BytesIO(b"\n\n"))
