"""A callback that keeps `result.json` true while a run goes on."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.stopwatch import Stopwatch


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
