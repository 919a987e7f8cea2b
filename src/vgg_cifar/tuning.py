"""What `auto` stands for: a learning rate and a batch size found by a few training steps on this machine."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from statistics import mean, pstdev
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vgg_cifar.config import Config
from vgg_cifar.data.loader import Batch
from vgg_cifar.errors import DivergedError, UserError
from vgg_cifar.hardware import is_out_of_memory, synchronise

log = logging.getLogger(__name__)

Fit = Callable[[Config, list[Callback]], None]
"""Trains a new network with these callbacks, leaving nothing behind."""

RATES = (1e-5, 10.0)
RATE_STEPS = 100
FLAT = slice(5, 20)
"""Steps at rates too low to do anything, whose losses say what to fall from and how much they scatter."""
SCATTERS = 4
"""How many standard deviations of these the loss must fall for a rate to have done something."""
BATCH_SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
WORTHWHILE = 1.05
"""How much faster a doubled batch must be to be worth having."""


def tune(config: Config, images: int, fit: Fit) -> tuple[Config, dict[str, Any]]:
    """Replace every `auto` that is looked for by training.

    Args:
        config: the run's.
        images: how many there are to train on; no batch is larger.
        fit: how to train for a few steps.

    Returns:
        The configuration with numbers in place of `auto`, and those numbers by their dotted keys.
    """
    found: dict[str, Any] = {}
    short = config.trainer.model_copy(update={"max_epochs": RATE_STEPS, "limit_val_batches": 0})
    if config.data.batch_size == "auto":
        log.info("Looking for a batch size ...")

        def rate(size: int) -> float:
            trial = config.model_copy(
                update={
                    "monitor_test": False,
                    "resizing": config.resizing.last_stage(),
                    "augmentation": config.augmentation.first_stage(),
                    "data": config.data.model_copy(update={"batch_size": size}),
                    "optimizer": config.optimizer.model_copy(update={"lr": 1e-4}),
                    "trainer": short.model_copy(update={"max_steps": _Clock.warmup + _Clock.steps}),
                }
            )
            clock = _Clock()
            fit(trial, [clock])
            return clock.images / clock.seconds

        size = find_batch_size(rate, config.trainer.accumulate_grad_batches, images)
        found["data.batch_size"] = size
        config = config.model_copy(update={"data": config.data.model_copy(update={"batch_size": size})})
        log.info("data.batch_size=%d", size)
    if config.optimizer.lr == "auto":
        log.info("Looking for a learning rate (up to %d steps) ...", RATE_STEPS)
        test = RangeTest()
        trial = config.model_copy(
            update={
                "monitor_test": False,
                "resizing": config.resizing.last_stage(),
                "augmentation": config.augmentation.first_stage(),
                "optimizer": config.optimizer.model_copy(update={"lr": RATES[0]}),
                "trainer": short.model_copy(update={"max_steps": RATE_STEPS}),
            }
        )
        with suppress(DivergedError):  # at a rate that is too high, as was to be
            fit(trial, [test])
        lr = test.suggestion()
        found["optimizer.lr"] = lr
        config = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"lr": lr})})
        log.info(
            "optimizer.lr=%g: a tenth of the highest rate at which the loss was lowest, after %d steps",
            lr,
            len(test.losses),
        )
    return config, found


def find_batch_size(rate: Callable[[int], float], least: int, most: int) -> int:
    """The smallest power of two whose training is about as fast as any that fits into memory.

    Args:
        rate: images per second at a batch size; raises an error of memory where it does not fit.
        least: no batch is smaller.
        most: no batch is larger, but the first that is tried.

    Raises:
        UserError: if not even the first fits.
    """
    best, best_rate = 0, 0.0
    for size in (size for size in BATCH_SIZES if size >= least):
        if best and size > most:
            break
        try:
            found = rate(size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if not best:
                raise UserError(f"data.batch_size: not even {size} images fit into memory; give a number") from error
            break
        log.info("  %5d: %.0f images/s", size, found)
        if found < best_rate * WORTHWHILE:
            break
        best, best_rate = size, found
    return best


class RangeTest(Callback):
    """Raises the learning rate evenly on a log scale until the loss explodes (Smith, 2017).

    Attributes:
        rates: the rate of each step.
        losses: the smoothed loss at each step, until it was four times its lowest.
    """

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._mean = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Set the rate of this step."""
        low, high = RATES
        rate = low * (high / low) ** (trainer.global_step / (RATE_STEPS - 1))
        groups = trainer.optimizers[0].param_groups
        for group in groups:  # which may have rates of their own, multiples of the first one's
            group["lr"] = rate * group["initial_lr"] / groups[0]["initial_lr"]
        if len(self.rates) <= trainer.global_step:
            self.rates.append(rate)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Note the loss, smoothed over about five steps."""
        if trainer.global_step <= len(self.losses) or not batch.count:
            return  # a part of a step that is not whole yet, or one without images
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches / max(batch.share, 1e-9)
        self._mean = 0.8 * self._mean + 0.2 * loss
        smoothed = self._mean / (1 - 0.8 ** (len(self.losses) + 1))
        if not math.isfinite(smoothed) or (self.losses and smoothed > 4 * min(self.losses)):
            trainer.should_stop = True
        else:
            self.losses.append(smoothed)

    def suggestion(self) -> float:
        """A tenth of the highest rate at which the loss was as good as lowest, to two digits.

        Raises:
            UserError: if the loss fell at no rate.
        """
        flat = self.losses[FLAT]
        start, scatter = (mean(flat), pstdev(flat)) if flat else (0.0, 0.0)
        drop = start - min(self.losses, default=0.0)
        if not flat or drop <= SCATTERS * scatter:
            raise UserError(
                f"optimizer.lr: auto found no rate at which the loss falls within {RATE_STEPS} steps; give one"
            )
        good = [rate for rate, loss in zip(self.rates, self.losses, strict=False) if loss <= start - 0.9 * drop]
        return float(f"{good[-1] / 10:.1e}")


class _Clock(Callback):
    """Times a few steps after a few others.

    Attributes:
        images: of the timed steps.
        seconds: that they took.
    """

    warmup = 3
    steps = 4

    def __init__(self) -> None:
        self.images = 0.0
        self.seconds = math.inf
        self._since: float | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Start after the first steps, stop after the last."""
        if self._since is not None:
            self.images += batch.total / batch.parts
        if self._since is None and trainer.global_step == self.warmup:
            synchronise(trainer.strategy.root_device)
            self._since = time.perf_counter()
        elif self._since is not None and trainer.global_step == self.warmup + self.steps:
            synchronise(trainer.strategy.root_device)
            self.seconds = time.perf_counter() - self._since
