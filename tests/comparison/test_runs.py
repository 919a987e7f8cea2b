"""Finding runs, and reading what folders in any state say."""

import json
from pathlib import Path

import pytest
from hand_made import configuration, make_run

from vgg_cifar.comparison import compare
from vgg_cifar.comparison.runs import find
from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import RunFolder


def states(root: Path) -> dict[str, str]:
    return {run.folder.path.relative_to(root).as_posix(): run.status for run in find([root])[0]}


def test_runs_are_found_at_any_depth_in_the_order_of_people(tmp_path: Path) -> None:
    for name in ("10", "9", "deep/er/1"):
        make_run(tmp_path / name, test_top1=0.5)
    make_run(tmp_path / "9" / "evaluation" / "inside", test_top1=0.5)
    assert list(states(tmp_path)) == ["9", "10", "deep/er/1"]
    assert [run.number for run in find([tmp_path / "10", tmp_path])[0]] == [0, 1, 2], "each of them once"


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = make_run(tmp_path / "outside", test_top1=0.5)
    inside = make_run(tmp_path / "runs" / "0", test_top1=0.5)
    (tmp_path / "runs" / "1").symlink_to(outside.path)
    inside.manifest.unlink()
    inside.manifest.symlink_to(outside.manifest)
    (run,) = find([tmp_path / "runs"])[0]
    assert (run.status, run.error, run.manifest) == ("damaged", "manifest.json is a link, which is not followed", {})


def test_a_sweep_says_what_is_queued_and_what_died_before_it_began(tmp_path: Path) -> None:
    jobs = [
        {"number": number, "folder": name, "key": "0" * 16, "overrides": ["data=synthetic", f"seed={number}"]}
        for number, name in enumerate(
            ["0", "1", "jobs/2", "../outside", "/tmp", "..", "jobs/../2", "jobs//2", "link/3"]
        )
    ]
    command = ["python", "src/train.py", "-m", "seed=range(3)"]
    make_run(tmp_path / "outside", test_top1=0.5)
    make_run(tmp_path / "sweep" / "0", test_top1=0.5)
    (tmp_path / "sweep" / "1").mkdir()
    (tmp_path / "sweep" / "link").symlink_to(tmp_path)
    RunFolder(tmp_path / "sweep" / "1").write_result({"status": "failed", "error": "killed by signal 9\nand more"})
    sweep = {"name": "seeds", "command": command, "versions": {}, "jobs": jobs}
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(sweep))
    runs, (found,) = find([tmp_path / "sweep"])
    assert [(run.status, run.error, run.seed) for run in runs] == [
        ("finished", None, "0"),
        ("failed", "killed by signal 9", "1"),
        ("queued", None, "2"),
    ]
    assert (found.name, found.command) == ("seeds", tuple(command))


DAMAGES = {
    "config.yaml": ["[", "- a list", "optimizer: [1, {a: b}]\n", "", "a: &a [*a]"],
    "manifest.json": ["[", '{"overrides": 3, "resumed": 4, "git": 5, "packages": [6], "data": {"a": NaN}}', "[]"],
    "result.json": ["{", "[1]", '{"status": ["finished"]}', '{"status": "finished", "test/top1": "1", "epochs": NaN}'],
    "metrics.csv": ["step,train/loss\nx,1\n", "a,b\n1,2\n", "step,epoch,train/loss\n1,nan,1\n2,1e400,2\n", "\0"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in DAMAGES.items() for text in texts])
def test_a_damaged_folder_leaves_the_others_as_they_are(tmp_path: Path, name: str, text: str) -> None:
    make_run(tmp_path / "0", test_top1=0.5, val_top1=0.25)
    bad = make_run(tmp_path / "1", seed=1, test_top1=0.75, val_top1=0.75)
    (bad.path / name).write_text(text)
    found = compare([tmp_path])
    assert len(found.runs) == 2
    counted = [run.number for group in found.groups for run in group.counted]
    assert counted[0] == 0
    if found.runs[1].status == "damaged":
        assert counted == [0]
        assert found.runs[1].error is not None
        assert str(tmp_path) not in found.runs[1].error or name == "config.yaml"
        assert any("damaged" in note for note in found.notes)


def test_runs_that_go_on_or_stopped_are_told_and_not_counted(tmp_path: Path) -> None:
    make_run(tmp_path / "0", test_top1=0.5)
    running = make_run(tmp_path / "1", seed=1, status="running", test_top1=0.75)
    make_run(tmp_path / "2", seed=2, status="running")
    make_run(tmp_path / "3", seed=3).result.unlink()
    running.lock()
    try:
        found = compare([tmp_path])
    finally:
        running.unlock()
    assert [run.status for run in found.runs] == ["finished", "running", "interrupted", "not begun"]
    assert [run.number for group in found.groups for run in group.counted] == [0]
    assert any("1 running, 1 interrupted, 1 not begun" in note for note in found.notes)


def test_nothing_found_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run in"):
        find([tmp_path])
    with pytest.raises(UserError, match="there is no folder"):
        find([tmp_path / "nowhere"])


def test_a_run_from_before_an_option_was_there_equals_one_that_has_its_default(tmp_path: Path) -> None:
    make_run(tmp_path / "0", test_top1=0.5)
    old = make_run(tmp_path / "1", seed=1, test_top1=0.5)
    config = configuration() | {"seed": 1}
    del config["label_smoothing"], config["resizing"]
    old.write_config(config)
    assert compare([tmp_path]).keys == []
