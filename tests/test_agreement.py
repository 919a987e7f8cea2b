"""Agreement: what makes two runs identical, what seed noise explains, and what nothing explains."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import torch

from vgg_cifar.agreement import Agreement, compare
from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import RunFolder

RESULT = {
    "status": "finished", "epochs": 2, "steps": 10, "tested_checkpoint": "best", "tested_epoch": 1,
    "test/loss": 2.5, "test/top1": 0.5, "val/top1": 0.4, "train/loss": 2.0, "train_seconds": 3.0,
}  # fmt: skip
ROWS = [
    {"step": 5.0, "epoch": 0.0, "train/loss": 3.0, "images_per_second": 100.0},
    {"step": 10.0, "epoch": 1.0, "train/loss": 2.0, "images_per_second": 120.0},
]
IMAGES = {"val": 100, "test": 200}


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., RunFolder]:
    """A run's folder, made by hand."""

    def make(name: str, weight: float = 1.0, **changes: Any) -> RunFolder:
        folder = RunFolder(tmp_path / name)
        folder.checkpoints.mkdir(parents=True)
        folder.write_result(RESULT | {key.replace("_top", "/top"): value for key, value in changes.items()})
        folder.write_metrics(ROWS)
        torch.save({"state_dict": {"a": torch.tensor([0.0, weight]), "b": torch.ones(2)}}, folder.checkpoint("last"))
        return folder

    return make


def of(then: RunFolder, now: RunFolder, *seeds: RunFolder) -> Agreement:
    return compare(then, now, IMAGES, seeds)


def test_times_apart_everything_has_to_be_the_same(stored: Callable[..., RunFolder]) -> None:
    then, now = stored("then"), stored("now", train_seconds=5.0)
    now.write_metrics([row | {"images_per_second": 7.0} for row in ROWS])
    found = of(then, now)
    assert found.verdict == "identical"
    assert found.curves.all
    assert found.weights is not None
    assert (found.weights.count, found.weights.of) == (2, 2)
    assert json.loads(json.dumps(found.record()))["metrics"]["test/top1"]["difference"] == 0


@pytest.mark.parametrize(
    "changes", [{"test_top1": 0.505}, {"test_top1": 0.9}, {"steps": 11}, {"tested_epoch": 2}], ids=str
)
def test_the_same_course_with_other_numbers_is_off(stored: Callable[..., RunFolder], changes: dict[str, Any]) -> None:
    assert of(stored("then"), stored("now", **changes)).verdict == "off"


@pytest.mark.parametrize("rows", [ROWS[:1], [ROWS[0], ROWS[1] | {"train/loss": 2.0 + 1e-15}], []], ids=len)
def test_the_same_weights_with_another_curve_are_off(stored: Callable[..., RunFolder], rows: Any) -> None:
    then, now = stored("then"), stored("now")
    then.write_metrics(rows)
    found = of(then, now)
    assert found.verdict == "off"
    assert found.curves.worst == (10 if rows else 5)


def test_a_difference_is_noise_up_to_what_so_many_images_explain(stored: Callable[..., RunFolder]) -> None:
    limit = 2.5758 * (2 * 0.5 * 0.5 / 200) ** 0.5
    for number, (share, verdict) in enumerate(((0.97, "within seed noise"), (1.03, "off"))):
        half = share * limit / 2
        then, now = stored(f"then{number}", test_top1=0.5 - half), stored(f"now{number}", 1.25, test_top1=0.5 + half)
        found = of(then, now)
        assert found.verdict == verdict
        assert found.metrics["test/top1"].difference == pytest.approx(2 * half)
        assert found.metrics["test/loss"].limit is None
        assert found.weights is not None
        assert (found.weights.count, found.weights.worst) == (1, 0.25)
        assert "what other seeds do was not measured" in str(found.yardstick)


def test_four_other_seeds_are_a_yardstick_that_the_run_itself_cannot_widen(stored: Callable[..., RunFolder]) -> None:
    seeds = [stored(f"seed{accuracy}", test_top1=accuracy) for accuracy in (0.50, 0.52, 0.54, 0.56)]
    limit = scipy.stats.t.ppf(0.995, 3) * (2 * (0.03**2 + 0.01**2 + 0.01**2 + 0.03**2) / 3) ** 0.5
    then = stored("then", test_top1=0.1)
    for number, (share, verdict) in enumerate(((0.99, "within seed noise"), (1.01, "off"))):
        found = of(then, stored(f"now{number}", 1.25, test_top1=0.1 + share * limit), *seeds)
        assert found.verdict == verdict
        assert found.metrics["test/top1"].limit == pytest.approx(limit)
        assert "4 runs with other seeds" in str(found.yardstick)
    assert "binomial" in str(of(then, stored("now", 1.25, test_top1=0.9), *seeds[:3]).yardstick)


def test_a_loss_that_moved_is_judged_by_seeds_alone(stored: Callable[..., RunFolder]) -> None:
    then, now = stored("then"), stored("now", 1.25)
    now.write_result(RESULT | {"test/loss": 2.6})
    assert of(then, now).verdict == "within seed noise"
    seeds = [stored(f"seed{number}") for number in range(4)]
    for number, seed in enumerate(seeds):
        seed.write_result(RESULT | {"test/loss": 2.5 + number / 1000})
    assert of(then, now, *seeds).verdict == "off"


def test_what_an_older_run_did_not_record_is_not_held_against_it(stored: Callable[..., RunFolder]) -> None:
    then, now = stored("then"), stored("now")
    then.write_result({key: value for key, value in RESULT.items() if key not in ("val/top1", "tested_epoch")})
    found = of(then, now)
    assert (found.verdict, found.metrics["val/top1"].then) == ("identical", None)


def test_without_its_weights_a_run_is_compared_by_its_numbers(stored: Callable[..., RunFolder]) -> None:
    then, now = stored("then"), stored("now", 1.25)
    then.checkpoint("last").unlink()
    found = of(then, now)
    assert (found.verdict, found.weights) == ("identical", None)


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(1).expand(2**40), torch.ones(2, dtype=torch.float64), torch.ones(2).to_sparse(), torch.ones(3)],
    ids=["huge", "double", "sparse", "longer"],
)
def test_weights_of_another_kind_are_other_weights(stored: Callable[..., RunFolder], tensor: torch.Tensor) -> None:
    then, now = stored("then"), stored("now")
    torch.save({"state_dict": {"a": torch.tensor([0.0, 1.0]), "b": tensor}}, then.checkpoint("last"))
    found = of(then, now)
    assert found.weights is not None
    assert (found.weights.count, found.weights.of, found.weights.worst) == (1, 2, None)


@pytest.mark.parametrize("value", [None, "0.5", True, [0.5], float("nan"), 10**400], ids=lambda value: str(value)[:9])
def test_a_result_without_an_accuracy_cannot_be_compared(stored: Callable[..., RunFolder], value: object) -> None:
    then, now = stored("then"), stored("now")
    then.result.write_text(json.dumps(RESULT | {"test/top1": value}))
    with pytest.raises(UserError, match=r"result\.json"):
        of(then, now)


@pytest.mark.parametrize("text", ["step,a\nx,y\n", "step\n1,2,3\n", "a\n1\n", "step\ninf\n", "step\nnan\n"])
def test_a_table_that_is_none_is_one_line(stored: Callable[..., RunFolder], text: str) -> None:
    then, now = stored("then"), stored("now")
    then.metrics.write_text(text)
    with pytest.raises(UserError, match=r"metrics\.csv (is damaged|cannot be read)"):
        of(then, now)


@pytest.mark.parametrize("content", [{"state_dict": [1]}, {"state_dict": {"a": 1}}, {"state_dict": None}, {}], ids=str)
def test_a_checkpoint_without_weights_is_one_line(stored: Callable[..., RunFolder], content: Any) -> None:
    then, now = stored("then"), stored("now")
    torch.save(content, then.checkpoint("last"))
    with pytest.raises(UserError, match=r"last\.ckpt is damaged"):
        of(then, now)
