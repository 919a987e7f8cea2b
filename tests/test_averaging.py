"""Averaged weights: torch's rules applied at the right steps, seen by evaluations, undone for training."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from vgg_cifar.config import Config
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer
from vgg_cifar.weight_averaging import WeightAveraging


class History(Callback):
    """Keeps a parameter after every step, and what validation sees in its place."""

    def __init__(self) -> None:
        self.trained: list[Tensor] = []
        self.epochs: list[int] = []
        self.validated: list[Tensor] = []

    def parameter(self, module: Any) -> Tensor:
        return module.network.classifier[-1].weight.detach().clone()  # type: ignore[no-any-return]

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.trained.append(self.parameter(pl_module))
        self.epochs.append(trainer.current_epoch)

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, *_: Any) -> None:
        if batch_idx == 0:
            self.validated.append(self.parameter(pl_module))


def fit(config: Config) -> tuple[History, WeightAveraging | None, nn.Module]:
    history, averaging = History(), config.averaging.build()
    datamodule = make_datamodule(config)
    classifier = make_classifier(config, datamodule)
    trainer, _ = make_trainer(config, [*averaging, history], [])
    trainer.fit(classifier, datamodule)
    return history, averaging[0] if averaging else None, classifier.network  # type: ignore[return-value]


def test_none_adds_nothing(configure: Callable[..., Config]) -> None:
    assert configure("averaging=none").averaging.build() == []


def test_ema_is_the_exponential_mean_of_the_steps(configure: Callable[..., Config]) -> None:
    history, callback, network = fit(configure("averaging=ema", "averaging.decay=0.8"))
    expected = history.trained[0]
    for weight in history.trained[1:]:
        expected = 0.8 * expected + 0.2 * weight
    assert callback is not None
    assert callback.averaged is not None
    torch.testing.assert_close(callback.averaged.module.classifier[-1].weight, expected)
    torch.testing.assert_close(history.validated[-1], expected)
    assert torch.equal(network.classifier[-1].weight, history.trained[-1])  # type: ignore[index]


def test_ema_can_take_every_other_step(configure: Callable[..., Config]) -> None:
    history, callback, _ = fit(configure("averaging=ema", "averaging.decay=0.5", "averaging.every=2"))
    taken = history.trained[1::2]
    expected = taken[0]
    for weight in taken[1:]:
        expected = 0.5 * expected + 0.5 * weight
    assert callback is not None
    assert callback.averaged is not None
    torch.testing.assert_close(callback.averaged.module.classifier[-1].weight, expected)


def test_swa_is_the_mean_over_the_last_epochs(configure: Callable[..., Config]) -> None:
    history, callback, _ = fit(configure("averaging=swa", "averaging.start=0.5", "trainer.max_epochs=4"))
    last_of_epoch = dict(zip(history.epochs, history.trained, strict=True))
    expected = (last_of_epoch[2] + last_of_epoch[3]) / 2
    assert callback is not None
    assert callback.averaged is not None
    torch.testing.assert_close(callback.averaged.module.classifier[-1].weight, expected)
    # Before there is a mean, validation sees the weights as they are.
    assert torch.equal(history.validated[0], last_of_epoch[0])
    torch.testing.assert_close(history.validated[3], expected)


@pytest.mark.parametrize(
    "averaging",
    [
        ("averaging=swa", "averaging.start=0.0"),
        ("averaging=ema", "averaging.decay=0.8", "averaging.bn_batches=50"),
        ("averaging=ema", "averaging.decay=0.8", "averaging.bn_batches=50", "averaging.every=3"),
    ],
    ids=" ".join,
)
def test_batch_norm_is_measured_for_the_averaged_weights(
    configure: Callable[..., Config], averaging: tuple[str, ...]
) -> None:
    config = configure(*averaging, "augmentation=none", "data.val_fraction=0")
    _, callback, network = fit(config)
    assert callback is not None
    assert callback.averaged is not None
    averaged: Any = callback.averaged.module
    datamodule = make_datamodule(config)
    images = (datamodule.train.images / 255 - 0.5) / 0.15
    with torch.no_grad():
        seen = averaged.features[0](images).mean((0, 2, 3))
    torch.testing.assert_close(averaged.features[1].running_mean, seen, rtol=0.1, atol=0.02)
    assert not torch.equal(averaged.features[1].running_mean, network.features[1].running_mean)  # type: ignore[index]


def test_averaging_follows_optimizer_steps_not_batches(configure: Callable[..., Config]) -> None:
    _, callback, _ = fit(configure("averaging=ema", "trainer.accumulate_grad_batches=2", "data.val_fraction=0"))
    assert callback is not None
    assert callback.averaged is not None
    assert int(callback.averaged.n_averaged) == 2 * 5  # 300 images in batches of 64, two epochs


@pytest.mark.parametrize("decay", ["1.0", "-0.1"])
def test_an_impossible_decay_is_refused(configure: Callable[..., Config], decay: str) -> None:
    from vgg_cifar.errors import UserError

    with pytest.raises(UserError, match=r"averaging\.decay"):
        configure("averaging=ema", f"averaging.decay={decay}")
