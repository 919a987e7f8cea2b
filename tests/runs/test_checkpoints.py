"""Checkpoints on disk: whole, known by their checksum, with the one before kept."""

import io
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vgg_cifar.errors import RunError, UserError
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder

CUTS = 50


def content(step: int) -> dict[str, object]:
    return {"global_step": step, "state_dict": {"weight": torch.arange(4000.0)}, "note": "ä"}


def save(folder: RunFolder, step: int, *, best: bool = False, last: bool = True) -> None:
    checkpoints.write(content(step), folder.checkpoint(".new"))
    checkpoints.place(folder, last=last, best=best)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """One with two checkpoints, of steps 1 and 2."""
    folder = RunFolder(tmp_path)
    save(folder, 1)
    save(folder, 2)
    return folder


def test_what_is_written_is_read_and_torch_and_unzip_read_it_too(folder: RunFolder) -> None:
    last = folder.checkpoint("last")
    for found in (checkpoints.read(last), torch.load(last, weights_only=True)):
        assert found["global_step"] == 2
        assert torch.equal(found["state_dict"]["weight"], torch.arange(4000.0))
    with zipfile.ZipFile(last) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"sha256:")


def test_the_last_two_are_kept_and_the_best(folder: RunFolder) -> None:
    save(folder, 3, best=True)
    save(folder, 4)
    save(folder, 5, last=False, best=False)
    steps = {path.name: checkpoints.read(path)["global_step"] for path in folder.checkpoints.iterdir()}
    assert steps == {"previous.ckpt": 3, "last.ckpt": 4, "best.ckpt": 3}
    save(folder, 6, last=False, best=True)
    assert checkpoints.read(folder.checkpoint("best"))["global_step"] == 6
    assert checkpoints.read(folder.checkpoint("last"))["global_step"] == 4


def test_a_file_system_without_hard_links_keeps_them_too(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    save(folder, 3, best=True)
    steps = {path.name: checkpoints.read(path)["global_step"] for path in folder.checkpoints.iterdir()}
    assert steps == {"previous.ckpt": 2, "last.ckpt": 3, "best.ckpt": 3}


def test_a_checkpoint_cut_anywhere_falls_back_to_the_one_before(folder: RunFolder, figure: Callable[..., None]) -> None:
    last = folder.checkpoint("last")
    whole = last.read_bytes()
    ends = [0, len(whole) - 1, len(whole) - checkpoints.COMMENT]
    offsets = [*ends, *random.Random(0).sample(range(len(whole)), CUTS - len(ends))]
    for offset in offsets:
        last.write_bytes(whole[:offset])
        assert checkpoints.newest(folder)[0] == "previous", offset
        last.with_suffix(".damaged").unlink()
    figure("checkpoints cut at a random offset: the one before was taken", len(offsets))


def test_a_single_changed_bit_is_seen(folder: RunFolder) -> None:
    last = folder.checkpoint("last")
    whole = last.read_bytes()
    for place in random.Random(1).sample(range(8 * len(whole)), 50):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        last.write_bytes(changed)
        with pytest.raises(UserError, match=r"last\.ckpt is refused: it is damaged"):
            checkpoints.read(last)


def test_a_checkpoint_of_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    torch.save(content(1), tmp_path / "old.ckpt")
    assert checkpoints.read(tmp_path / "old.ckpt")["global_step"] == 1
    whole = (tmp_path / "old.ckpt").read_bytes()
    (tmp_path / "old.ckpt").write_bytes(whole[:-10])
    with pytest.raises(UserError, match="damaged"):
        checkpoints.read(tmp_path / "old.ckpt")


def test_where_both_are_damaged_a_line_says_so(folder: RunFolder) -> None:
    for name in ("last", "previous"):
        folder.checkpoint(name).write_bytes(b"nothing")
    with pytest.raises(UserError) as caught:
        checkpoints.newest(folder)
    assert str(caught.value).endswith("there is no other to go on from: start a new run")
    assert "\n" not in str(caught.value)
    assert checkpoints.newest(RunFolder(folder.path / "empty")) is None


def test_something_that_is_no_run_of_numbers_is_refused_unread(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/executed",)

    buffer = io.BytesIO()
    torch.save({"state_dict": Code()}, buffer)
    (tmp_path / "hostile.ckpt").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="it is damaged, or holds more than plain data"):
        checkpoints.read(tmp_path / "hostile.ckpt")
    assert not (tmp_path / "executed").exists()
    torch.save([1], tmp_path / "list.ckpt")
    with pytest.raises(UserError, match="it holds a list"):
        checkpoints.read(tmp_path / "list.ckpt")


def test_a_full_disk_leaves_the_old_ones_and_nothing_half_written(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(
            RunError, match=r"no checkpoint can be written to .*: no space is left \(.* free\); free some"
        ):
            save(folder, 3)
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert checkpoints.newest(folder)[0] == "last"


def test_a_folder_that_was_removed_is_named(folder: RunFolder) -> None:
    for path in folder.checkpoints.iterdir():
        path.unlink()
    folder.checkpoints.rmdir()
    folder.path.joinpath(".lock").unlink(missing_ok=True)
    folder.path.rmdir()
    with pytest.raises(RunError, match="its folder is gone"):
        save(folder, 3)
