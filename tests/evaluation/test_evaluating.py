"""Evaluation: the stored metrics are found again from the folder alone."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from asked import asked

from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import RunFolder, json_text

METRICS = ("test/loss", "test/top1", "test/top5", "test/superclass_top1")


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("data.val_fraction=0",),
        ("averaging=ema",),
        ("averaging=swa", "averaging.start=0", "data.val_fraction=0"),
        ("trainer.precision=bf16-true",),
        ("trainer.limit_test_batches=2",),
        ("trainer.limit_test_batches=0.6", "trainer.limit_val_batches=0.5", "data.val_fraction=0.3"),
    ],
)
def test_the_stored_metrics_are_found_again_to_the_last_digit(
    train: Callable[..., RunFolder], overrides: tuple[str, ...]
) -> None:
    folder = train(*overrides)
    found, stored = asked(folder).metrics, folder.read_result()
    assert {name: found[name] for name in METRICS} == {name: stored[name] for name in METRICS}


def test_any_checkpoint_can_be_asked_for(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=3")
    assert asked(folder, which="last").metrics["epoch"] == 3
    assert asked(folder, which="best").metrics["epoch"] == folder.read_result()["tested_epoch"]


def test_the_folder_may_be_moved(train: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder = train()
    moved = RunFolder(folder.path.rename(tmp_path / "moved"))
    assert asked(moved).metrics["test/loss"] == moved.read_result()["test/loss"]


def test_a_missing_checkpoint_is_named(train: Callable[..., RunFolder]) -> None:
    folder = train("data.val_fraction=0")
    with pytest.raises(
        UserError, match=r"checkpoint: there is no .*/checkpoints/best\.ckpt; the run has last, previous$"
    ):
        asked(folder, which="best")
    shutil.rmtree(folder.checkpoints)
    with pytest.raises(UserError, match=rf"last\.ckpt, nor any other; resume={folder.path} goes on"):
        asked(folder)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("run=,",), "error: run: there is no run in {here}/, (no config.yaml)"),
        (("run=a,b",), "error: to: several runs are evaluated together; say where it goes: to=FOLDER"),
        (("run=a,b,a", "to=c"), "error: run: a is named twice; name every run once"),
        (("run=a", "tta=mirror"), "error: tta: should be 'none', 'flip' or 'multicrop', is 'mirror'"),
        (("run=a", "devices=none"), "error: devices: should be a valid integer, is 'none'"),
        (("run=a", "corruptions=-3"), "error: corruptions: should be greater than or equal to 0, is -3"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(
    command: Callable[..., subprocess.CompletedProcess[str]], arguments: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    done = command("evaluate.py", *arguments)
    assert (done.returncode, done.stderr.strip()) == (2, line.format(here=tmp_path))


@pytest.mark.parametrize(
    ("to", "line"),
    [
        ("/dev/null", "to: /dev/null cannot be made: /dev/null is no folder that may be written to"),
        ("{run}", "to: {run} is a run's folder; leave to out, or name a folder of its own"),
    ],
)
def test_where_findings_cannot_go_is_said_before_they_are_found(
    train: Callable[..., RunFolder], command: Callable[..., subprocess.CompletedProcess[str]], to: str, line: str
) -> None:
    folder = train("trainer.max_epochs=1")
    folder.checkpoint("last").unlink()  # without which there is nothing to find
    done = command("evaluate.py", f"run={folder.path}", f"to={to.format(run=folder.path)}")
    assert (done.returncode, done.stderr.strip()) == (2, f"error: {line.format(run=folder.path)}")


def test_a_misspelt_checkpoint_is_answered_with_the_right_name(train: Callable[..., RunFolder]) -> None:
    with pytest.raises(UserError, match=r"checkpoint: there is no .*/bset; did you mean best\?"):
        asked(folder := train("trainer.max_epochs=1"), which="bset")
    with pytest.raises(UserError, match=r"checkpoint: there is no .*/last\.ckpt; did you mean last\?"):
        asked(folder, which="last.ckpt")


def test_a_run_from_before_an_option_existed_is_still_found(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    older = folder.read_config()
    del older["profile"], older["logger"]["name"], older["augmentation"]["policy"], older["checkpoint"]["every_steps"]
    folder.write_config(older)
    assert asked(folder).metrics["test/loss"] == folder.read_result()["test/loss"]


@pytest.mark.parametrize("content", [[1], {}, {"state_dict": 3, "epoch": 1}, {"state_dict": {}, "epoch": 1}], ids=str)
def test_a_checkpoint_that_does_not_fit_is_refused(content: object, train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    torch.save(content, folder.checkpoint("best"))
    with pytest.raises(UserError, match=r"best\.ckpt"):
        asked(folder)


def change(state: dict[str, Any], **tensors: Any) -> None:
    """Put tensors into a state dict, or take them out; two underscores stand for the dots of a name."""
    for name, tensor in tensors.items():
        key = f"network.{name.replace('__', '.')}"
        if tensor is None:
            del state[key]
        else:
            state[key] = tensor


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"features__0__weight": torch.zeros(8, 3, 5, 5)}, "its {} is [8, 3, 5, 5], the config's is [8, 3, 3, 3]"),
        ({"features__0__weight": torch.zeros(3).to_sparse()}, "its {} is [3], the config's is [8, 3, 3, 3]"),
        ({"features__0__weight": "ones"}, "its {} is a str, the config's is [8, 3, 3, 3]"),
        ({"features__0__weight": None}, "it lacks {} [8, 3, 3, 3]"),
        ({"features__0__weight": None, "new": 1, "newer": 2}, "it lacks {} [8, 3, 3, 3] (and 2 more)"),
        ({"new": torch.zeros(1)}, "its network.new is not in the config's network"),
    ],
    ids=lambda given: "" if isinstance(given, str) else " ".join(given),
)  # fmt: skip
def test_what_of_a_checkpoint_does_not_fit_is_named(
    train: Callable[..., RunFolder], tensors: dict[str, Any], reason: str
) -> None:
    folder = train("trainer.max_epochs=1")
    content = torch.load(folder.checkpoint("best"), weights_only=True)
    change(content["state_dict"], **tensors)
    torch.save(content, folder.checkpoint("best"))
    expected = reason.format("network.features.0.weight")
    with pytest.raises(UserError) as caught:
        asked(folder)
    assert str(caught.value) == f"{folder.checkpoint('best')} does not fit the run's config.yaml: {expected}"


def test_a_checkpoint_of_another_network_says_where_they_differ_first(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    folder.write_config(folder.read_config() | {"model": folder.read_config()["model"] | {"width": 0.25}})
    with pytest.raises(
        UserError, match=r"its network\.features\.0\.weight is \[8, .*, the config's is \[16, .*more\)$"
    ):
        asked(folder)


@pytest.mark.parametrize("changes", [{"hardware": 3}, {"resumed": 5}, {"resumed": [1]}], ids=str)
def test_a_damaged_manifest_is_refused(changes: dict[str, object], train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    folder.write_manifest(folder.read_manifest() | changes)
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        asked(folder)


def test_a_result_names_no_file_outside_the_folder(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    folder.write_result(folder.read_result() | {"tested_checkpoint": "../../elsewhere"})
    with pytest.raises(UserError, match="should be best or last"):
        asked(folder)


def test_validation_images_are_asked_about_on_demand(train: Callable[..., RunFolder]) -> None:
    folder = train("data.val_fraction=0.2")
    found = asked(folder, which="last", split="val").metrics
    assert found["images"] == 60
    assert found["val/top1"] == folder.read_result()["val/top1"]
    assert "test/top1" not in found
    assert "val/calibrated_loss" not in found  # it would be measured where it was fitted


def test_without_held_out_images_there_is_no_temperature_and_no_other_split(train: Callable[..., RunFolder]) -> None:
    folder = train("data.val_fraction=0", "trainer.max_epochs=1")
    found = asked(folder).metrics
    assert found["temperature"] is None
    assert "test/calibrated_loss" not in found
    with pytest.raises(UserError, match=r"split: .* held no images out; there is split=test alone"):
        asked(folder, split="val")


def test_the_temperature_is_that_of_validation_images(train: Callable[..., RunFolder]) -> None:
    folder = train("data.val_fraction=0.2")
    of_test, of_val = asked(folder), asked(folder, split="val")
    assert of_test.temperature == of_val.temperature
    assert of_test.calibrated is not None
    assert of_test.calibrated.predicted.tolist() == of_test.scores.predicted.tolist()


def test_views_stand_beside_the_plain_number(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    plain, flipped = asked(folder).metrics, asked(folder, tta="flip").metrics
    assert {key: value for key, value in flipped.items() if key != "tta"} == plain
    assert (flipped["tta"]["name"], flipped["tta"]["views"]) == ("flip", 2)
    assert flipped["tta"]["test/loss"] != plain["test/loss"]


def test_several_runs_answer_by_their_mean_probability(train: Callable[..., RunFolder]) -> None:
    one, two = train(to="one"), train("seed=1", to="two")
    both = asked(one, two)
    singles = [asked(one), asked(two)]
    mean = sum(each.scores.probabilities for each in singles) / 2
    torch.testing.assert_close(both.scores.probabilities, mean, atol=1e-6, rtol=0)
    assert [member["test/loss"] for member in both.metrics["members"]] == [
        each.metrics["test/loss"] for each in singles
    ]
    assert asked(one, one).metrics["test/top1"] == singles[0].metrics["test/top1"]


def test_several_runs_answer_by_their_views_too_together_and_each_alone(train: Callable[..., RunFolder]) -> None:
    one, two = train("trainer.max_epochs=1", to="one"), train("trainer.max_epochs=1", "seed=1", to="two")
    both = asked(one, two, tta="flip").metrics
    singles = [asked(each, tta="flip").metrics for each in (one, two)]
    assert [member["tta"] for member in both["members"]] == [single["tta"] for single in singles]
    assert both["tta"]["test/loss"] < max(single["tta"]["test/loss"] for single in singles)  # by Jensen's inequality
    assert both["tta"]["test/loss"] != both["test/loss"]
    assert asked(one, one, tta="flip").metrics["tta"] == pytest.approx(singles[0]["tta"], abs=1e-6)


@pytest.mark.parametrize("other", ["data.seed=5", "data.val_fraction=0.3", "data.test_size=140"])
def test_runs_with_other_images_do_not_answer_together(train: Callable[..., RunFolder], other: str) -> None:
    one, two = train("trainer.max_epochs=1", to="one"), train("trainer.max_epochs=1", other, to="two")
    with pytest.raises(UserError, match=rf"run: .*two has {other}, .*one has .*; only runs with the same images"):
        asked(one, two)


def test_corrupted_images_are_asked_about_in_every_way(train: Callable[..., RunFolder]) -> None:
    found = asked(train("trainer.max_epochs=1"), corruptions=20).metrics["corruptions"]
    assert found["images"] == 20
    assert len(found["top1"]) == 15
    assert all(len(values) == 5 for values in found["top1"].values())
    mean = sum(sum(values) for values in found["top1"].values()) / 75
    assert found["mean_top1"] == pytest.approx(mean)


def test_two_devices_find_what_one_does(
    train: Callable[..., RunFolder], command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    folder = train("data.test_size=147", "trainer.max_epochs=1")
    expected = asked(folder, tta="flip").metrics
    done = command("evaluate.py", f"run={folder.path}", "devices=2", "tta=flip", "report=false")
    assert done.returncode == 0, done.stderr
    assert json.loads((folder.evaluation / "metrics.json").read_text()) == json.loads(json_text(expected))


def test_a_checkpoint_may_lie_anywhere(train: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder = train("trainer.max_epochs=1")
    copied = folder.checkpoint("last").rename(tmp_path / "mine.ckpt")
    found = asked(folder, which=copied).metrics
    assert (found["checkpoint"], found["epoch"]) == ("mine", 1)


def test_runs_that_leave_out_other_images_do_not_answer_together(train: Callable[..., RunFolder]) -> None:
    one = train("trainer.max_epochs=1", to="one")
    two = train("trainer.max_epochs=1", "trainer.limit_test_batches=2", to="two")
    with pytest.raises(UserError, match=r"run: trainer\.limit_test_batches leaves 80 and 150 images"):
        asked(one, two)


def test_a_folder_with_a_comma_in_its_name_is_one(
    train: Callable[..., RunFolder], command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    folder = train("trainer.max_epochs=1", to="lr=1,seed=[2]")
    done = command("evaluate.py", f"run={folder.path}", "report=false")
    assert done.returncode == 0, done.stderr
    assert (folder.evaluation / "metrics.json").is_file()


def test_a_network_of_doubles_is_asked_in_doubles_but_with_the_weights_of_floats(
    train: Callable[..., RunFolder],
) -> None:
    folder = train("trainer.precision=64-true", "trainer.max_epochs=1")
    assert asked(folder).metrics["test/loss"] == pytest.approx(folder.read_result()["test/loss"], abs=1e-6)
