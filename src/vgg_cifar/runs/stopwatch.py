"""A callback that measures training apart from everything else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vgg_cifar.data.loader import Batch
from vgg_cifar.hardware import synchronise

WARMUP_STEPS = 20


class Stopwatch(Callback):
    """Measures training apart from everything else, over all processes that a run is resumed in.

    Attributes:
        train_seconds: in optimizer steps, with the loading of their batches.
        compile_seconds: in steps that also compile or record; they are no part of `train_seconds`, nor their images of
            `images`.
        validation_seconds: in validations.
        images: images trained on, over all ranks.
        steady_seconds: `train_seconds` without each process's first twenty steps.
        steady_images: images without those of each process's first twenty steps.
    """

    def __init__(self) -> None:
        self.train_seconds = 0.0
        self.compile_seconds = 0.0
        self.validation_seconds = 0.0
        self.images = 0.0
        self.steady_seconds = 0.0
        self.steady_images = 0.0
        self._since: float | None = None
        self._validation_since = 0.0
        self._began_at = 0
        self._epoch = [0.0, 0.0]

    @property
    def images_per_second(self) -> float:
        """Training rate, without warm-up where there was more than warm-up of the same length."""
        if self.steady_seconds and self.images - self.steady_images < self.steady_images:
            return self.steady_images / self.steady_seconds
        return self.images / self.train_seconds if self.train_seconds else float("nan")

    def state_dict(self) -> dict[str, Any]:
        """The sums."""
        names = (
            "train_seconds",
            "compile_seconds",
            "validation_seconds",
            "images",
            "steady_seconds",
            "steady_images",
            "_epoch",
        )
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on adding."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    @contextmanager
    def paused(self, trainer: Trainer) -> Iterator[None]:
        """Stand still within this block."""
        running = self._since is not None
        if running:
            self._lap(trainer, steady=self._is_steady(trainer))
        yield
        if running:
            self._since = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start, in the middle of an epoch perhaps."""
        self._began_at = trainer.global_step
        self._start(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start."""
        self._epoch = [self.images, self.train_seconds]
        self._start(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Leave out a step that compiles."""
        if pl_module.stepping.prepares(batch):  # type: ignore[operator, union-attr]
            self._lap(trainer, steady=self._is_steady(trainer))

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count images; stop before a validation begins."""
        images = batch.total * trainer.world_size / batch.parts
        if pl_module.stepping.prepares(batch):  # type: ignore[operator, union-attr]
            synchronise(trainer.strategy.root_device)
            assert self._since is not None
            now = time.perf_counter()
            self.compile_seconds += now - self._since
            self._since = now
            images = 0.0
        self.images += images
        if self._is_steady(trainer):
            self.steady_images += images
        elif trainer.global_step - self._began_at == WARMUP_STEPS:
            self._lap(trainer, steady=False)
        if trainer.is_last_batch:
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's rate."""
        self._stop(trainer)
        images, seconds = self.images - self._epoch[0], self.train_seconds - self._epoch[1]
        if seconds:
            pl_module.publish({"images_per_second": images / seconds})  # type: ignore[operator]

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start; a validation that is done again comes before any step."""
        self._since = None
        self._validation_since = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop."""
        synchronise(trainer.strategy.root_device)
        self.validation_seconds += time.perf_counter() - self._validation_since

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop."""
        if self._since is not None:
            self.train_seconds += time.perf_counter() - self._since
            self._since = None

    def _is_steady(self, trainer: Trainer) -> bool:
        return trainer.global_step - self._began_at > WARMUP_STEPS

    def _start(self, trainer: Trainer) -> None:
        synchronise(trainer.strategy.root_device)
        self._since = time.perf_counter()

    def _stop(self, trainer: Trainer) -> None:
        if self._since is not None:
            self._lap(trainer, steady=self._is_steady(trainer))
            self._since = None

    def _lap(self, trainer: Trainer, *, steady: bool) -> None:
        synchronise(trainer.strategy.root_device)
        now = time.perf_counter()
        assert self._since is not None
        self.train_seconds += now - self._since
        if steady:
            self.steady_seconds += now - self._since
        self._since = now
