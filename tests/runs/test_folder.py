"""A run's folder: files that a crash leaves whole, a lock that a death releases, and a status that stays true."""

import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vgg_cifar
from vgg_cifar.errors import Interrupted, RunError, UserError
from vgg_cifar.runs.folder import RunFolder, write

HOLDER = """
import sys
from vgg_cifar.runs.folder import RunFolder
folder = RunFolder(sys.argv[1])
folder.lock()
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.fixture
def holder(folder: RunFolder) -> Iterator[subprocess.Popen[str]]:
    """Another process that has locked the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder.path)],
        env=os.environ | {"PYTHONPATH": str(Path(vgg_cifar.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_writing_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write(path, "a long first text")
    write(path, "short")
    assert path.read_text() == "short"
    assert list(tmp_path.iterdir()) == [path]


def test_when_writing_fails_the_old_content_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=r"result\.json cannot be written: no space is left"):
            write(path, "new")
    assert path.read_text() == "old"
    write(path, "newer")
    assert path.read_text() == "newer"


def test_until_the_new_content_is_on_disk_readers_see_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write(path, "old")
    seen: list[str] = []
    fsync = os.fsync

    def read_before(descriptor: int) -> None:
        seen.append(path.read_text())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", read_before)
    write(path, "new")
    assert seen == ["old"]
    assert path.read_text() == "new"


def test_a_result_is_read_as_it_was_written_but_for_what_is_not_a_number(folder: RunFolder) -> None:
    result = {
        "status": "finished",
        "test/top1": 0.7293,
        "epochs": 3,
        "loss": float("nan"),
        "nested": {"rate": float("inf"), "list": [1.5, -float("inf")]},
        "name": "naïve",
    }
    folder.write_result(result)
    expected = result | {"loss": None, "nested": {"rate": None, "list": [1.5, None]}}
    assert folder.read_result() == expected
    assert json.loads(folder.result.read_text(), parse_constant=pytest.fail) == expected


def test_a_result_that_is_not_there_is_empty_and_one_that_is_damaged_is_named(folder: RunFolder) -> None:
    assert folder.read_result() == {}
    assert folder.read_manifest() == {}
    folder.result.write_text('{"status": "fin')
    with pytest.raises(UserError, match=r"result\.json cannot be read") as caught:
        folder.read_result()
    assert "\n" not in str(caught.value)


def test_the_last_process_is_the_one_that_resumed_last(folder: RunFolder) -> None:
    assert folder.last_process() == {"command": [], "git": {}, "packages": {}, "hardware": {}}
    first: dict[str, Any] = {
        "command": ["python", "src/train.py"], "git": {"commit": "a", "dirty": True}, "packages": {"torch": "2"},
        "hardware": {"precision": "32-true", "ranks": 2, "gpus": ["H100"], "cores": 8}, "start": "now",
    }  # fmt: skip
    folder.write_manifest(first | {"seed": 1})
    assert folder.last_process() == first | {"seed": 1}
    second = first | {"git": None, "hardware": {"precision": None}}
    folder.write_manifest(first | {"resumed": [first, second]})
    assert folder.last_process() == second | {"git": {}}


@pytest.mark.parametrize(
    "damage",
    [
        {"resumed": {"0": {}}}, {"resumed": "ab"}, {"resumed": [1]}, {"git": "a"}, {"git": {"commit": ["a"]}},
        {"git": {"dirty": "no"}}, {"hardware": [1]}, {"hardware": {"precision": 32}}, {"hardware": {"ranks": "2"}},
        {"hardware": {"gpus": "H100"}}, {"hardware": {"gpus": [None]}}, {"command": "python"}, {"command": [3]},
        {"packages": ["torch"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_manifest_that_says_of_its_process_what_cannot_be_is_damaged(
    folder: RunFolder, damage: dict[str, Any]
) -> None:
    for manifest in (damage,) if "resumed" in damage else (damage, {"resumed": [{}, damage]}):
        folder.write_manifest(manifest)
        with pytest.raises(UserError, match=r"manifest\.json is damaged: it does not say on what the run was trained"):
            folder.last_process()


@pytest.mark.parametrize("lock_file", [True, False])
def test_a_dead_runs_running_reads_as_interrupted(folder: RunFolder, lock_file: bool) -> None:
    if lock_file:
        folder.lock()
        folder.unlock()
    folder.write_result({"status": "running", "epochs": 2})
    assert folder.read_result() == {"status": "interrupted", "epochs": 2}


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted"])
def test_any_other_status_stands(folder: RunFolder, status: str) -> None:
    folder.write_result({"status": status})
    assert folder.read_result()["status"] == status


def test_a_run_is_running_as_long_as_its_process_lives(folder: RunFolder, holder: subprocess.Popen[str]) -> None:
    folder.write_result({"status": "running"})
    assert folder.in_use()
    assert folder.read_result()["status"] == "running"
    holder.kill()
    holder.wait()
    assert not folder.in_use()
    assert folder.read_result()["status"] == "interrupted"


def test_a_folder_takes_one_process_at_a_time(folder: RunFolder, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(UserError, match="is in use by another process") as caught:
        folder.lock()
    assert str(folder.path) in str(caught.value)
    assert "\n" not in str(caught.value)
    holder.kill()
    holder.wait()
    folder.lock()
    assert RunFolder(folder.path).in_use()
    folder.unlock()
    assert not folder.in_use()


def test_locking_makes_the_folder_and_asking_does_not(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "new" / "run")
    assert not folder.in_use()
    assert not (tmp_path / "new").exists()
    folder.lock()
    assert folder.path.is_dir()
    folder.unlock()


scalars = st.floats(allow_nan=False)
rows = st.lists(
    st.fixed_dictionaries(
        {"step": st.integers(0, 10**6)},
        optional={"epoch": st.integers(0, 300), "train/loss": scalars, "val/top1": scalars, "lr": scalars},
    ),
    max_size=6,
)


@given(written=rows)
@settings(max_examples=50)
def test_metrics_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, written: list[Any]) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.write_metrics(written)
    assert folder.read_metrics() == written


def test_metrics_have_step_and_epoch_first_as_whole_numbers_and_empty_cells_where_nothing_was_logged(
    folder: RunFolder,
) -> None:
    assert folder.read_metrics() == []
    folder.write_metrics([{"val/top1": 0.5, "epoch": 0.0, "step": 10.0}, {"step": 20.0, "lr": math.pi}])
    assert folder.metrics.read_text().splitlines() == ["step,epoch,lr,val/top1", "10,0,,0.5", f"20,,{math.pi},"]


def test_a_configuration_is_read_as_it_was_written(folder: RunFolder) -> None:
    config = {
        "seed": 1,
        "data": {"root": None, "name": "cifar100", "mean": [0.5, 1e-08]},
        "tags": ["on", "1.0", "naïve", "no"],
        "empty": {},
    }
    folder.write_config(config)
    assert folder.read_config() == config
    assert list(folder.read_config()) == list(config)


@pytest.mark.parametrize("content", ["a: [1", "just words", "", "\x00"])
def test_a_damaged_configuration_is_named_in_one_line(folder: RunFolder, content: str) -> None:
    folder.config.write_text(content)
    with pytest.raises(UserError, match=r"config\.yaml (cannot be read|is damaged)") as caught:
        folder.read_config()
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_run_is_refused_naming_the_option(folder: RunFolder) -> None:
    with pytest.raises(UserError, match=f"^resume: there is no run in {folder.path}"):
        RunFolder.existing(folder.path, "resume")
    folder.write_config({"seed": 1})
    assert RunFolder.existing(folder.path, "resume").path == folder.path


def test_a_run_that_has_not_begun_leaves_nothing_of_its_own_and_everything_of_others(folder: RunFolder) -> None:
    theirs = RunFolder(folder.path / "run")
    theirs.path.mkdir()
    theirs.manifest.write_text("{}")
    for begins in (True, False):
        ours = RunFolder(theirs.path)
        ours.lock()
        if begins:
            ours.write_manifest({"seed": 1})
            ours.write_config({"seed": 1})
        ours.discard_unless_begun()
        ours.unlock()
        assert theirs.manifest.exists()
        theirs.config.unlink(missing_ok=True)
    ours = RunFolder(theirs.path)
    ours.lock()
    ours.write_manifest({"seed": 1})
    ours.discard_unless_begun()
    assert not theirs.path.exists()


def test_a_run_that_has_not_begun_takes_its_log_with_it_and_nobody_elses(folder: RunFolder) -> None:
    (folder.path / "notes.log").write_text("mine")
    handler = logging.FileHandler(folder.path / "train.log")
    logging.getLogger().addHandler(handler)
    try:
        folder.lock()
        folder.discard_unless_begun()
        logging.getLogger().error("said after the end")
    finally:
        logging.getLogger().removeHandler(handler)
    assert [path.name for path in folder.path.iterdir()] == ["notes.log"]


def test_a_run_that_found_the_folder_in_use_leaves_what_is_in_it(folder: RunFolder) -> None:
    theirs, ours = RunFolder(folder.path), RunFolder(folder.path)
    theirs.lock()
    (folder.path / "train.log").write_text("Looking for a learning rate")
    with pytest.raises(UserError, match="in use by another process"):
        ours.lock()
    ours.discard_unless_begun()
    assert (folder.path / "train.log").exists()
    with pytest.raises(UserError, match="in use by another process"):
        ours.lock()
    theirs.discard_unless_begun()
    assert not folder.path.exists()


def test_what_ends_a_process_while_it_writes_leaves_no_half_of_a_file(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise Interrupted("SIGTERM")

    before = list(folder.path.iterdir())
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(Interrupted):
        folder.write_manifest({})
    assert list(folder.path.iterdir()) == before


def test_a_folders_path_is_absolute_whatever_was_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert RunFolder("run").path == tmp_path / "run"
    assert RunFolder("~/run").path == tmp_path / "home" / "run"
    assert RunFolder("run").checkpoint("best") == tmp_path / "run" / "checkpoints" / "best.ckpt"
