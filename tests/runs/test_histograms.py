"""Histograms on TensorBoard: when, of what, without a trace in the training."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from vgg_cifar.classifier import Classifier
from vgg_cifar.composition import with_later_options
from vgg_cifar.errors import Interrupted
from vgg_cifar.optimizer import SGD
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.histograms import SAMPLE, due, gradients, sample, weights


def steps(folder: RunFolder) -> dict[str, list[int]]:
    """Of each histogram, by its tag: the steps under which it was written."""
    accumulator = EventAccumulator(str(folder.tensorboard), size_guidance={"histograms": 0})
    accumulator.Reload()
    return {tag: sorted(each.step for each in accumulator.Histograms(tag)) for tag in accumulator.Tags()["histograms"]}


@pytest.mark.parametrize(
    ("epochs", "times", "expected"),
    [
        (200, 10, [1, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200]),
        (12, 5, [1, 3, 5, 8, 10, 12]),
        (3, 10, [1, 2, 3]),
        (7, 1, [1, 7]),
        (1, 10, [1]),
    ],
)
def test_the_first_epoch_the_last_and_some_between(epochs: int, times: int, expected: list[int]) -> None:
    assert [epoch + 1 for epoch in range(epochs) if due(epoch, epochs, times)] == expected


def test_every_layer_has_some_under_the_last_step_of_an_epoch(train: Callable[..., RunFolder]) -> None:
    found = steps(train("logger=tensorboard", "logger.histograms=1", "trainer.max_epochs=3"))
    kinds = [tag.partition("/")[0] for tag in found]
    # vgg11: 8 convolutions, each with a batch norm, and 3 linear layers.
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "weights": 11,
        "gradients_log10": 11,
        "batch_norm_scales": 8,
    }
    assert set(map(tuple, found.values())) == {(5 - 1, 15 - 1)}


def test_none_are_written_if_none_are_asked_for(train: Callable[..., RunFolder]) -> None:
    assert steps(train("logger=tensorboard", "logger.histograms=0", "trainer.max_epochs=1")) == {}


def test_where_steps_are_limited_the_last_step_has_some(train: Callable[..., RunFolder]) -> None:
    found = steps(train("logger=tensorboard", "logger.histograms=1", "trainer.max_steps=7", "trainer.max_epochs=9"))
    assert set(map(tuple, found.values())) == {(4, 6)}


@pytest.mark.parametrize("averaging", ["none", "ema"])
def test_training_is_the_same_without_them(train: Callable[..., RunFolder], averaging: str) -> None:
    words = ("logger=tensorboard", f"averaging={averaging}", "dropout=all")
    trained = [
        checkpoints.read(train(*words, f"logger.histograms={times}", to=f"{times}").checkpoint("last"))["state_dict"]
        for times in (0, 10)
    ]
    assert trained[0].keys() == trained[1].keys()
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())


@pytest.mark.parametrize("hook", ["on_validation_epoch_start", "training_step"])
def test_a_run_that_goes_on_writes_none_twice(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    original = getattr(Classifier, hook)

    def once(self: Any, *rest: Any) -> Any:
        if self.trainer.global_step == (8 if hook == "training_step" else 10):
            raise Interrupted
        return original(self, *rest)

    words = ("logger=tensorboard", "trainer.max_epochs=3", "checkpoint.every_steps=3")
    with monkeypatch.context() as patch:
        patch.setattr(Classifier, hook, once)
        folder = train(*words, code=75)
    train(*words, f"resume={folder.path}")
    assert set(map(tuple, steps(folder).values())) == {(4, 9, 14)}


def test_a_run_from_before_there_were_any_goes_on(train: Callable[..., RunFolder]) -> None:
    folder = train("logger=tensorboard", "logger.histograms=0", "trainer.max_epochs=1")
    stored = folder.read_config()
    del stored["logger"]["histograms"]
    assert with_later_options(stored)["logger"]["histograms"] == 10
    folder.write_config(stored)
    train("logger=tensorboard", "trainer.max_epochs=2", f"resume={folder.path}")
    assert set(map(tuple, steps(folder).values())) == {(9,)}


def test_a_sample_takes_every_place_of_a_kernel_as_often() -> None:
    places = (torch.arange(512 * 512 * 9) % 9).reshape(512, 512, 3, 3)
    taken = sample(places)
    assert SAMPLE / 2 < len(taken) <= SAMPLE
    counts = np.bincount(taken.astype(int), minlength=9)
    assert counts.max() - counts.min() < 0.01 * counts.mean()
    assert sample(torch.arange(100.0)).tolist() == list(range(100))


def test_gradients_that_vanish_have_no_logarithm() -> None:
    layer = nn.Linear(3, 4)
    layer.weight.grad = torch.zeros(4, 3)
    layer.weight.grad[0] = 0.01
    (found,) = gradients(nn.Sequential(layer)).items()
    assert found[0] == "gradients_log10/0"
    assert found[1][np.isfinite(found[1])] == pytest.approx([-2] * 3)
    assert weights(nn.Sequential(layer)).keys() == {"weights/0"}


class Spoiling(torch.optim.SGD):
    """Uses the gradients' place for something else."""

    def step(self, closure: Any = None) -> Any:
        loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad.fill_(1e6)
        return loss


def test_gradients_are_looked_at_before_the_optimizer_has_them(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SGD, "build", lambda self, groups, fused: Spoiling(groups, lr=self.lr))
    folder = train("logger=tensorboard", "trainer.max_epochs=1")
    accumulator = EventAccumulator(str(folder.tensorboard)).Reload()
    (event,) = accumulator.Histograms("gradients_log10/classifier.0")
    assert event.histogram_value.max < 3
