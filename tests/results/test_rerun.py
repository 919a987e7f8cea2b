"""Claims put to the test: what is trained, what is compared, and how that is judged."""

import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hand_made import make_run

from vgg_cifar import standalone
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import BESIDE_THE_POINT
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.reproduction import changes
from vgg_cifar.results import records
from vgg_cifar.results.rerun import judge, rerun, typed_today
from vgg_cifar.runs.folder import RunFolder

Make = Callable[..., list[RunFolder]]

SMALL = ("data.train_size=200", "data.test_size=100", "trainer.accelerator=cpu")
IMAGES = {"data": {"synthetic": "seed 0, 200 + 100 images"}}


def by_seed(*values: float) -> dict[str, float]:
    return {str(seed): value for seed, value in enumerate(values)}


def test_the_same_values_of_the_same_seeds_are_identical() -> None:
    assert judge(by_seed(0.70, 0.71, 0.72), {"1": 0.71}, 100).verdict == "identical"
    assert judge(by_seed(0.70, 0.71, 0.72), {"7": 0.71}, 100).verdict == "within seed noise"


def test_the_limit_is_students_of_the_pooled_deviation() -> None:
    from scipy.stats import ttest_ind

    then, now = [0.70, 0.71, 0.73], [0.72, 0.74]
    found = judge(by_seed(*then), by_seed(*now))
    interval = ttest_ind(now, then).confidence_interval(0.99)
    assert found.difference == pytest.approx(statistics.fmean(now) - statistics.fmean(then))
    assert found.limit == pytest.approx((interval.high - interval.low) / 2)


def test_one_new_run_is_judged_by_the_recorded_ones() -> None:
    then = by_seed(0.700, 0.702, 0.704, 0.706)
    # t(3) at 99.5% is 5.84, the deviation 0.00258, times the root of 1/4 + 1
    assert judge(then, {"9": 0.703 + 0.0168}).verdict == "within seed noise"
    assert judge(then, {"9": 0.703 + 0.0170}).verdict == "off"


def test_of_one_run_on_each_side_the_number_of_images_decides() -> None:
    assert judge(by_seed(0.5), {"9": 0.52}, images=10_000).verdict == "off"
    assert judge(by_seed(0.5), {"9": 0.51}, images=10_000).verdict == "within seed noise"
    assert judge(by_seed(0.5), {"9": 0.52}, images=100).verdict == "within seed noise"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[float]], list[list[str]]]:
    """Have sweeps come to these accuracies without training; the words typed for each are noted."""

    def stand_in(accuracies: Sequence[float], code: int = 0) -> list[list[str]]:
        calls: list[list[str]] = []

        def train(words: list[str]) -> int:
            calls.append(words)
            typed = dict(word.split("=", 1) for word in words if "=" in word)
            for seed, accuracy in zip(typed["seed"].split(","), accuracies, strict=True):
                path = Path(typed["hydra.sweep.dir"].strip("'")) / seed
                make_run(path, seed=int(seed), test_top1=accuracy, val_top1=accuracy)
            return code

        monkeypatch.setattr(standalone, "train", train)
        return calls

    return stand_in


def test_the_recorded_command_is_typed_with_its_seeds_and_the_row_judged(
    seeds: Make, trained: Callable[..., list[list[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds([0.50, 0.51, 0.52], "optimizer.lr=0.2", *SMALL, manifest=IMAGES)
    made = records.record([tmp_path / "runs"], name="mine")
    calls = trained([0.50, 0.51, 0.53])
    assert rerun(made, [], str(tmp_path / "new"), []) == 0
    (words,) = calls
    assert words[:3] == ["-m", "data=synthetic", "optimizer.lr=0.2"]
    assert "seed=0,1,2" in words
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.search(r"51\.00% ± 1\.00 \(3 seeds\) recorded, 51\.33% ± 1\.53 \(3 seeds\) now", line)
    assert line.endswith(": within seed noise")
    trained([0.9, 0.91])
    assert rerun(made, [5, 6], str(tmp_path / "others"), []) == 1
    assert capsys.readouterr().out.endswith(": off\n")


def test_every_row_of_a_comparison_is_judged(
    seeds: Make, trained: Callable[..., list[list[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds([0.49, 0.50], *SMALL, to="runs/a", manifest=IMAGES)
    seeds([0.79, 0.80], "optimizer=adam", *SMALL, to="runs/b", manifest=IMAGES)
    calls = trained([0.50, 0.51])
    made = records.record([tmp_path / "runs"], name="mine", reference="optimizer=sgd")
    assert rerun(made, [], str(tmp_path / "new"), []) == 1
    assert [[word for word in words if "adam" in word] for words in calls] == [[], ["optimizer=adam"]]
    verdicts = [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines() if " recorded, " in line]
    assert verdicts == ["identical", "off"]


def test_runs_that_did_not_finish_are_not_compared(
    seeds: Make, trained: Callable[..., list[list[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds([0.5], *SMALL, manifest=IMAGES)
    made = records.record([tmp_path / "runs"], name="mine")
    trained([0.5], code=75)
    assert rerun(made, [], str(tmp_path / "new"), []) == 75
    assert f"to={tmp_path / 'new'} goes on" in capsys.readouterr().out


def recorded(told: list[str], *made_of: str) -> dict[str, Any]:
    """A record of one row, whose configuration other overrides make than those that it was told."""
    raw = compose_and_check([*made_of, "data=synthetic"]).raw
    return {
        "name": "mine",
        "overrides": told,
        "config": records.telling(raw),
        "rows": [{"overrides": [], "config": {}}],
    }


@pytest.mark.parametrize(
    ("told", "made_of"),
    [
        (["data=synthetic"], ["label_smoothing=0.3"]),
        (["data=synthetic"], ["resizing=progressive", "resizing.sides=[16,32]", "resizing.milestones=[0.25]"]),
        (["data=synthetic"], ["dropout=none", "sharpness=sam", "sharpness.rho=0.2", "divergence.retries=2"]),
        (["data=synthetic"], ["model.weights='/a, b/it\\'s [1].pt'"]),
        (["data=synthetic"], ["optimizer=custom", "optimizer._target_=torch.optim.NAdam", "+optimizer.foreach=false"]),
        (["data=synthetic", "optimizer.lr=auto"], ["optimizer.lr=0.07"]),
        (["experiment=twelve_epochs", "optimizer=sgd"], ["optimizer.lr=0.028", "trainer.max_epochs=12"]),
    ],
    ids=["an option", "a choice and its options", "choices", "a text", "a class", "auto", "of another optimizer"],
)
def test_a_recipe_that_has_changed_since_is_typed_in_full(told: list[str], made_of: list[str]) -> None:
    made = recorded(told, *made_of)
    words = typed_today(made, made["rows"][0], ["name=again"])
    assert words[-1] == "name=again"
    assert words != [*told, "name=again"]
    assert records.telling(compose_and_check(words).raw) == made["config"]


def test_what_is_typed_in_full_is_trained_and_said(
    seeds: Make, trained: Callable[..., list[list[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds([0.5], *SMALL, manifest=IMAGES)
    made = records.record([tmp_path / "runs"], name="mine")
    calls = trained([0.5])
    assert rerun(made | {"config": made["config"] | {"label_smoothing": 0.3}}, [], str(tmp_path / "new"), []) == 0
    (words,) = calls
    assert "++label_smoothing=0.3" in words
    assert re.search(r"^As recorded, in full: .*\+\+label_smoothing=0.3", capsys.readouterr().out, re.MULTILINE)


def test_an_option_that_is_no_more_a_value_that_is_not_allowed_and_other_images_are_refused(
    seeds: Make, trained: Callable[..., list[list[str]]], tmp_path: Path
) -> None:
    seeds([0.5], *SMALL, manifest=IMAGES)
    made = records.record([tmp_path / "runs"], name="mine")
    calls = trained([0.5])
    for then, said in (({"lucky": True}, "lucky"), ({"label_smoothing": 3.0}, "label_smoothing: should be")):
        with pytest.raises(UserError, match=rf"^record: mine cannot be made any more \({said}.*0123456789$"):
            rerun(made | {"config": made["config"] | then}, [], str(tmp_path / "new"), [])
    with pytest.raises(UserError, match="mine saw other images: the checksums of synthetic differ"):
        rerun(made | {"data": {"synthetic": "seed 1"}}, [], str(tmp_path / "new"), [])
    assert calls == []


RECORDS = records.read(PROJECT / "docs" / "records")


@pytest.mark.parametrize("made", RECORDS, ids=[each["name"] for each in RECORDS])
def test_every_row_that_is_kept_can_be_made_today(made: dict[str, Any]) -> None:
    for row in made["rows"]:
        raw = compose_and_check(typed_today(made, row, [])).raw
        assert not list(changes(made["config"] | row["config"], raw, "seed", *BESIDE_THE_POINT))


@pytest.mark.soak
def test_a_run_that_is_really_trained_again_is_identical(train: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder = train("seed=3", "trainer.max_epochs=1")
    folder.write_manifest(folder.read_manifest() | {"git": {"commit": "0" * 40, "dirty": False}})
    made = records.record([folder.path], name="mine")
    assert rerun(made, [], str(tmp_path / "new"), []) == 0
    (again,) = (RunFolder(path.parent) for path in (tmp_path / "new").rglob("result.json"))
    assert again.read_result()["test/top1"] == folder.read_result()["test/top1"]


@pytest.mark.parametrize(
    ("typed", "said"), [("record=nothing", "record: there is no nothing, only "), ("seeds=a", "seeds: should be whole")]
)
def test_a_mistake_is_one_line(typed: str, said: str) -> None:
    command = [sys.executable, PROJECT / "benchmarks" / "rerun.py", typed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: {said}")
