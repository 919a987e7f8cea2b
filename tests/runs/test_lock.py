"""A file that one process holds until it ends, however it ends."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vgg_cifar.errors import UserError
from vgg_cifar.runs.lock import Lock

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


def test_one_holds_it_until_it_is_given_back(path: Path) -> None:
    first, second = Lock(path), Lock(path)
    assert not first.is_held()
    assert not path.exists()  # looking makes no file
    assert first.take()
    assert first.is_held()
    assert second.is_held()
    assert not second.take()
    first.release()
    assert not first.is_held()
    assert second.take()


def test_another_process_holds_it_until_it_is_killed(path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    assert Lock(path).is_held()
    assert not Lock(path).take()
    holder.kill()
    holder.wait()
    assert not Lock(path).is_held()
    assert Lock(path).take()
    holder.stdin.close()
    holder.stdout.close()


def test_a_child_does_not_inherit_it(path: Path) -> None:
    ours = Lock(path)
    assert ours.take()
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    ours.release()
    assert not ours.is_held()
    child.communicate(b"\n")


def test_to_release_what_is_not_held_does_nothing(path: Path) -> None:
    other, ours = Lock(path), Lock(path)
    assert other.take()
    ours.release()
    assert other.is_held()


def test_a_link_in_its_place_is_neither_followed_nor_emptied(path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("words")
    path.symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        Lock(path).take()
    assert Lock(path).is_held()  # nobody is to go on in such a folder
    assert precious.read_text() == "words"


def test_what_the_file_holds_stays(path: Path) -> None:
    path.write_text("words")
    assert Lock(path).take()
    assert path.read_text() == "words"


def test_a_pipe_in_its_place_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    Lock(path).is_held()
    Lock(path).take()


def test_where_there_is_no_folder_nothing_is_held(path: Path) -> None:
    lost = Lock(path.parent / "nowhere" / ".lock")
    assert not lost.is_held()
    with pytest.raises(FileNotFoundError):
        lost.take()


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def has_none(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", has_none)
    with pytest.raises(
        UserError, match=r"lock: this file system has no locks \(Function not impl.+\); choose another$"
    ):
        Lock(tmp_path / "lock").take()
    with pytest.raises(UserError, match="has no locks"):
        Lock(tmp_path / "lock").is_held()
