"""Calibration: curves and errors of answers whose calibration is known, and the temperature that was hidden in them."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from vgg_cifar.evaluation.calibration import Reliability, at, reliability, temperature


def answers(count: int, scale: float = 1.0, classes: int = 10, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Log-probabilities and labels that are drawn from them; the logits are then multiplied."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, classes, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()
    return (scale * logits).log_softmax(1), labels


def curve_of(log_probabilities: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    confidence, answer = log_probabilities.exp().max(1)
    return reliability(confidence, answer == labels, bins)


def test_answers_that_are_right_as_often_as_they_say_have_no_error_and_temperature_one() -> None:
    log_probabilities, labels = answers(40_000)
    assert curve_of(log_probabilities, labels).error < 0.01
    assert temperature(log_probabilities, labels) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("scale", [3.0, 0.3])
def test_the_temperature_takes_back_what_logits_were_multiplied_with(scale: float) -> None:
    log_probabilities, labels = answers(40_000, scale)
    found = temperature(log_probabilities, labels)
    assert found == pytest.approx(scale, rel=0.02)
    before, after = (curve_of(seen, labels).error for seen in (log_probabilities, at(log_probabilities, found)))
    assert before > 0.1
    assert after < 0.01


def test_the_temperature_found_is_the_likeliest_of_all() -> None:
    log_probabilities, labels = answers(500, 1.7, seed=3)

    def loss(value: float) -> float:
        return -float(at(log_probabilities, value).gather(1, labels[:, None]).mean())

    found = temperature(log_probabilities, labels)
    tried = [math.exp(x) for x in torch.linspace(math.log(0.05), math.log(20), 400).tolist()]
    assert loss(found) <= min(map(loss, tried)) + 1e-9


def test_the_temperature_stays_within_its_bounds_where_nothing_is_wrong_or_everything() -> None:
    log_probabilities, _ = answers(200)
    best, worst = log_probabilities.argmax(1), log_probabilities.argmin(1)
    assert temperature(log_probabilities, best) == pytest.approx(0.05, rel=1e-3)
    assert temperature(log_probabilities, worst) == pytest.approx(20, rel=1e-3)


@pytest.mark.parametrize("bins", [15, 7])
@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_the_error_is_torchmetrics(scale: float, bins: int) -> None:
    log_probabilities, labels = answers(3000, scale, classes=100, seed=1)
    theirs = multiclass_calibration_error(log_probabilities.exp(), labels, num_classes=100, n_bins=bins, norm="l1")
    assert curve_of(log_probabilities, labels, bins).error == pytest.approx(float(theirs), abs=1e-6)


def test_the_curve_says_how_many_how_sure_and_how_often_right() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.92, 0.08], [0.3, 0.7], [0.45, 0.55]])
    curve = curve_of(probabilities.log(), torch.tensor([0, 1, 1, 1]), bins=5)
    assert curve.count.tolist() == [0, 0, 1, 1, 2]
    assert curve.confidence[2:].tolist() == pytest.approx([0.55, 0.7, 0.91])
    assert curve.accuracy[2:].tolist() == [1, 1, 0.5]
    assert curve.confidence[:2].isnan().all()
    assert curve.accuracy[:2].isnan().all()
    assert curve.error == pytest.approx((0.45 + 0.3 + 2 * 0.41) / 4)


def test_certain_answers_are_in_the_last_bin() -> None:
    certain = torch.tensor([[0.0, -200.0], [-200.0, 0.0]])
    curve = curve_of(certain, torch.tensor([0, 1]))
    assert curve.count.tolist() == [0] * 14 + [2]
    assert curve.error == 0


def test_another_temperature_gives_probabilities_with_the_same_answer() -> None:
    log_probabilities, _ = answers(50)
    for value in (0.2, 1.0, 5.0):
        seen = at(log_probabilities, value)
        assert seen.dtype == torch.float64
        assert torch.allclose(seen.exp().sum(1), torch.ones(50, dtype=torch.float64))
        assert torch.equal(seen.argmax(1), log_probabilities.argmax(1))
    assert torch.allclose(at(log_probabilities, 1.0), log_probabilities.double(), atol=1e-6)
