"""Callbacks that keep `result.json` true while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.data.loader import Batch
from vgg_cifar.hardware import synchronise
from vgg_cifar.runs.folder import RunFolder

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


class Record(Checkpoint):
    """Writes `result.json` after every epoch, on rank 0.

    A `Checkpoint`, since Lightning calls those after the module has logged its epoch, other callbacks before.
    """

    def __init__(
        self,
        folder: RunFolder,
        result: dict[str, Any],
        stopwatch: Stopwatch,
        datamodule: DataModule,
        started: float,
    ) -> None:
        self.folder = folder
        self.result = result
        self.stopwatch = stopwatch
        self.datamodule = datamodule
        self.began = False
        self.started = started
        self._earlier_seconds: float = result.get("total_seconds", 0.0)
        self._earlier_test_reads = result.get("test_reads", 0) - datamodule.test_reads

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Everything until now was setting up."""
        self.began = True
        self.result["setup_seconds"] = self.result.get("setup_seconds", 0.0) + time.perf_counter() - self.started

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that goes on may have nothing left to do but to test."""
        self.began = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One more epoch is done, unless a limit on steps cut it short."""
        self.result["epochs"] = trainer.current_epoch + int(trainer.is_last_batch)
        self.write(trainer, pl_module)

    def write(self, trainer: Trainer, pl_module: LightningModule, **changes: Any) -> None:
        """Bring the file up to date, with the given changes; before training began nothing else has changed."""
        self.result |= changes | (self._figures(trainer, pl_module) if self.began else {})
        if trainer.is_global_zero:
            self.folder.write_result(self.result)

    def _figures(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        watch = self.stopwatch
        return {
            "steps": trainer.global_step,
            "test_reads": self._earlier_test_reads + self.datamodule.test_reads,
            **pl_module.results,  # type: ignore[dict-item]
            "images_per_second": watch.images_per_second,
            "train_seconds": watch.train_seconds,
            "compile_seconds": watch.compile_seconds,
            "validation_seconds": watch.validation_seconds,
            "total_seconds": self._total(),
        }

    def _total(self) -> float:
        return self._earlier_seconds + time.perf_counter() - self.started
