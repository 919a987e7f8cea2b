"""Records of runs that differ in their seed alone, and of rows that are compared; what makes neither."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hand_made import MADE_OF

from vgg_cifar.errors import UserError
from vgg_cifar.results import records
from vgg_cifar.runs.folder import RunFolder

Make = Callable[..., list[RunFolder]]


def test_a_record_holds_what_the_runs_share_once_and_each_seeds_result_and_course(seeds: Make, tmp_path: Path) -> None:
    typed = ["data=synthetic", "optimizer.lr=0.2", "data.root=/somewhere", "name=mine", "+logger=csv", "seed=0"]
    folders = seeds([0.5, 0.6, 0.7], "optimizer.lr=0.2", "name=mine", manifest={"overrides": typed})
    made = records.record([tmp_path], note="on a train")
    assert (made["name"], made["note"], made["metric"]) == ("mine", "on a train", "test/top1")
    assert made["overrides"] == ["data=synthetic", "optimizer.lr=0.2"], "nothing of a machine, and no seed"
    assert made["config"]["optimizer"]["lr"] == 0.2
    assert "/somewhere" not in json.dumps(made)
    assert "seed" not in made["config"]
    assert (made["commits"], made["differ"]) == ([MADE_OF["git"]["commit"]], {})  # type: ignore[index]
    (row,) = made["rows"]
    assert (row["overrides"], row["config"]) == ([], {})
    assert [run["seed"] for run in row["runs"]] == [0, 1, 2]
    assert [run["result"] for run in row["runs"]] == [folder.read_result() for folder in folders]
    assert [each["epoch"] for each in row["runs"][2]["epochs"]] == [1, 2]
    assert row["runs"][2]["epochs"][1]["test/top1"] == 0.7


def test_of_a_run_that_went_on_what_was_typed_last_counts(seeds: Make, tmp_path: Path) -> None:
    (folder,) = seeds([0.5], "trainer.max_epochs=3")
    command = ["python", "src/train.py", "data=synthetic", "trainer.max_epochs=3", "seed=0", "resume=somewhere"]
    manifest = folder.read_manifest()
    folder.write_manifest(manifest | {"overrides": ["data=synthetic"], "resumed": [manifest | {"command": command}]})
    made = records.record([tmp_path])
    assert made["overrides"] == ["data=synthetic", "trainer.max_epochs=3"]
    assert made["rows"][0]["runs"][0]["resumed"] == 1


def test_rows_that_are_compared_begin_with_the_reference_and_hold_what_is_their_own(
    seeds: Make, tmp_path: Path
) -> None:
    seeds([0.5, 0.6], "optimizer=adam", "label_smoothing=0.1", to="a")
    seeds([0.7, 0.8], "label_smoothing=0.1", to="b")
    made = records.record([tmp_path / "a", tmp_path / "b"], name="adam", reference="optimizer=sgd")
    assert made["metric"] == "val/top1"
    assert made["overrides"] == ["data=synthetic", "label_smoothing=0.1"]
    assert [row["overrides"] for row in made["rows"]] == [[], ["optimizer=adam"]]
    assert made["config"]["optimizer"]["name"] == "sgd"
    assert list(made["rows"][1]["config"]) == ["optimizer"]
    assert records.scores(made["rows"][1], "val/top1") == {"0": pytest.approx(0.51), "1": pytest.approx(0.61)}
    assert "epochs" not in made["rows"][0]["runs"][0]


def test_what_is_not_the_same_is_taken_only_if_that_is_said_and_then_shown(seeds: Make, tmp_path: Path) -> None:
    seeds([0.5], to="a")
    (other,) = seeds([0.6], to="b", manifest={"git": {"commit": "f" * 40, "dirty": False}})
    other.write_config(other.read_config() | {"seed": 1})
    with pytest.raises(UserError, match=r"differ in code \(commit: .*; differ=commit takes them all the same"):
        records.record([tmp_path])
    made = records.record([tmp_path], differ=["commit"])
    assert made["differ"] == {"commit": made["commits"]}
    assert made["commits"][1] == "f" * 40


def unfinished(folder: Any) -> None:
    folder.write_result(folder.read_result() | {"status": "failed", "error": "no memory"})


def uncommitted(folder: Any) -> None:
    folder.write_manifest(folder.read_manifest() | {"git": MADE_OF["git"] | {"dirty": True}})  # type: ignore[operator]


def another(folder: Any) -> None:
    folder.write_config(folder.read_config() | {"label_smoothing": 0.3})


def repeated(folder: Any) -> None:
    folder.write_config(folder.read_config() | {"seed": 0})


def other_images(folder: Any) -> None:
    folder.write_manifest(folder.read_manifest() | {"data": {"synthetic": "seed 1"}})


def untested(folder: Any) -> None:
    folder.write_result({name: value for name, value in folder.read_result().items() if name != "test/top1"})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (unfinished, r"1 of 2 make no record, .*1, is failed: no memory"),
        (uncommitted, "1 was made by files that no commit holds"),
        (another, "they differ in label_smoothing, not in their seed alone; reference="),
        (repeated, "1 repeats the seed 0 of another run"),
        (other_images, r"they differ in data \(synthetic: seed 0, seed 1\)$"),
        (untested, "1 has no test/top1"),
    ],
)
def test_runs_that_make_no_row_are_refused(seeds: Make, tmp_path: Path, spoil: Any, said: str) -> None:
    spoil(seeds([0.5, 0.6])[1])
    with pytest.raises(UserError, match=said):
        records.record([tmp_path])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "../mine"}, "name: should be letters, digits"),
        ({"differ": ["data"]}, "differ: data may not; commit, "),
        ({"metric": "val/top1"}, "metric: is for rows that are compared"),
        ({"metric": "val/loss", "reference": "1"}, "metric: should be an accuracy"),
        ({"reference": "9"}, "baseline: 9 fits no group"),
    ],
)
def test_a_mistake_says_what_to_do(seeds: Make, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    seeds([0.5])
    with pytest.raises(UserError, match=said):
        records.record([tmp_path], **options)


def test_an_evaluation_of_other_networks_or_by_unknown_files_is_refused(
    seeds: Make, tmp_path: Path, evaluation: Callable[..., Path]
) -> None:
    runs = [seeds([0.5, 0.6])[0].path.parent]
    with pytest.raises(UserError, match=r"ensemble: .*nowhere holds no evaluation; evaluate\.py run="):
        records.record(runs, evaluation=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"with test/top1 0\.5000, 0\.7000, the record 0\.5000, 0\.6000; evaluate its"):
        records.record(runs, evaluation=evaluation([0.5, 0.7]))
    with pytest.raises(UserError, match="is an evaluation of 1, the record is of 2; evaluate just its runs"):
        records.record(runs, evaluation=evaluation([0.5], [0.5]))
    with pytest.raises(UserError, match="is of one network without views"):
        records.record(runs, evaluation=evaluation([0.5]))
    for commit, dirty in (("abc", True), (None, None), ("abc", None)):
        unknown = {"commit": commit, "dirty": dirty}
        with pytest.raises(UserError, match="was made by files that no commit holds"):
            records.record(runs, evaluation=evaluation([0.6, 0.5], git=unknown))
    with pytest.raises(UserError, match="leave reference= out"):
        records.record(runs, evaluation=evaluation([0.5, 0.6]), reference="1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "metrics.json cannot be read"),
        ("[]", "holds no evaluation"),
        ('{"test/top1": 0.5}', r"metrics\.json is damaged, or of an older evaluate\.py; ask again"),
        ('{"git": {"commit": "a", "dirty": false}, "members": ["mine"]}', r"metrics\.json is damaged"),
        (
            '{"git": {"commit": "a", "dirty": false}, "tta": {}, "accelerator": "cpu", "precision": "32-true", '
            '"test/top1": 0.5, "test/top5": 0.9}',
            r"metrics\.json is damaged",
        ),
    ],
)
def test_an_evaluation_that_is_none_or_damaged_is_refused(
    seeds: Make, tmp_path: Path, evaluation: Callable[..., Path], text: str, said: str
) -> None:
    seeds([0.5])
    folder = evaluation([0.5], [0.5])
    (folder / "metrics.json").write_text(text)
    with pytest.raises(UserError, match=said):
        records.record([tmp_path / "runs"], evaluation=folder)


def test_a_record_keeps_what_an_evaluation_really_finds(
    train: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vgg_cifar.evaluation import evaluating
    from vgg_cifar.evaluation.options import EvaluationOptions
    from vgg_cifar.reporting.evaluation_report import write_evaluation
    from vgg_cifar.runs import manifest
    from vgg_cifar.trained import restore

    for module in (manifest, evaluating):
        monkeypatch.setattr(module, "git_state", lambda: {"commit": "abcdef0123", "dirty": False})
    folders = [train("trainer.max_epochs=1", f"seed={seed}", to=f"runs/{seed}") for seed in (0, 1)]
    found = evaluating.evaluate([restore(each) for each in reversed(folders)], EvaluationOptions(tta="flip"))
    assert found is not None
    write_evaluation(found, tmp_path / "both", report=False)
    kept = records.record([tmp_path / "runs"], evaluation=tmp_path / "both")["ensemble"]
    assert kept["single"] == [each.read_result()["test/top1"] for each in folders]
    assert len(kept["single_tta"]) == 2
    assert (kept["commit"], kept["tta"]) == ("abcdef0123", "flip")
    assert (kept["ensemble"], kept["ensemble_tta"]) == (found.metrics["test/top1"], found.metrics["tta"]["test/top1"])


def test_a_record_is_read_as_it_was_written_and_an_epoch_is_a_line(seeds: Make, tmp_path: Path) -> None:
    seeds([0.5, 0.6])
    (folder := tmp_path / "records").mkdir()
    (folder / "speed.json").write_text('{"tables": []}')
    made = records.record([tmp_path / "runs"], name="mine")
    text = records.keep(folder, made).read_text()
    assert text.count('{"epoch": ') == 4
    assert records.read(folder) == [made]
    assert records.named([made], "mine") == made
    with pytest.raises(UserError, match=r"^record: there is no mime, only mine; did you mean mine\?$"):
        records.named([made], "mime")
    with pytest.raises(UserError, match=r"^joins: which one\? There is mine$"):
        records.named([made], "", "joins")
    with pytest.raises(UserError, match="is a record of something else"):
        records.keep(folder, made | {"name": "speed"})
