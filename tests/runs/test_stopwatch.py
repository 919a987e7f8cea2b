"""The stopwatch: training time apart from everything else."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Callback

from vgg_cifar.config import Config
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer
from vgg_cifar.runs.stopwatch import WARMUP_STEPS, Stopwatch

PAUSE = 0.02


class Slow(Callback):
    """Makes training steps, and apart from them validations, last."""

    def __init__(self, step: float = 0.0, validation: float = 0.0) -> None:
        self.step, self.validation = step, validation

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        time.sleep(self.step)

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, *_: Any) -> None:
        time.sleep(self.validation)


def measure(config: Config, slow: Slow) -> Stopwatch:
    stopwatch = Stopwatch()
    datamodule = make_datamodule(config)
    trainer, _ = make_trainer(config, [stopwatch, slow], [])
    trainer.fit(make_classifier(config, datamodule), datamodule)
    return stopwatch


def test_time_in_steps_and_time_in_validations_are_kept_apart(configure: Callable[..., Config]) -> None:
    config = configure("data.val_fraction=0.2")  # 240 images in 4 steps, 60 in 2 validation batches, 2 epochs
    slow_steps = measure(config, Slow(step=PAUSE))
    slow_validations = measure(config, Slow(validation=5 * PAUSE))
    assert slow_steps.train_seconds >= 8 * PAUSE
    assert slow_validations.validation_seconds >= 4 * 5 * PAUSE
    assert slow_steps.validation_seconds < slow_validations.validation_seconds


def test_every_image_is_counted(configure: Callable[..., Config]) -> None:
    assert measure(configure(), Slow()).images == 2 * 270
    accumulated = measure(configure("trainer.accumulate_grad_batches=3"), Slow())
    assert accumulated.images == pytest.approx(2 * 270)


def test_warm_up_is_left_out_of_the_rate_only_where_there_is_more_than_warm_up(
    configure: Callable[..., Config],
) -> None:
    short = measure(configure(), Slow())
    assert short.images_per_second == pytest.approx(short.images / short.train_seconds)
    # 270 images in batches of 8 are 34 steps an epoch.
    long = measure(configure("data.batch_size=8", "model.width=0.05"), Slow())
    assert long.steady_images == 2 * 270 - WARMUP_STEPS * 8
    assert long.images_per_second == pytest.approx(long.steady_images / long.steady_seconds)
    assert long.steady_seconds < long.train_seconds
