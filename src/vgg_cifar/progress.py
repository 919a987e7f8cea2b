"""What a person sees while a run goes on: a bar in a terminal, a line per epoch anywhere else."""

from __future__ import annotations

import logging
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vgg_cifar.data.loader import Batch
from vgg_cifar.reporting import duration

log = logging.getLogger(__name__)
REFRESH_SECONDS = 0.5


class ProgressReport(Checkpoint):
    """Epoch, loss, accuracy, images per second and time left, for the whole run.

    A `Checkpoint`, since Lightning calls those after the module has logged its epoch, other callbacks before.

    Args:
        console: where to draw.
        bar: whether to draw a bar; without a terminal there is none in any case.
    """

    def __init__(self, console: Console, *, bar: bool = True) -> None:
        self.console = console
        self.bar = bar and console.is_terminal
        self._progress: Progress | None = None
        self._drawn = 0.0
        self._images = 0.0
        self._since = 0.0
        self._started = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw an empty bar."""
        self._started = time.perf_counter()
        self._first_step = trainer.global_step
        if self.bar and trainer.is_global_zero:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[numbers]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self.console,
                auto_refresh=False,
                expand=True,
            )
            self._progress.start()
            total = int(trainer.estimated_stepping_batches)
            self._progress.add_task("epoch", total=total, completed=trainer.global_step, numbers="")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure."""
        self._images, self._since = 0.0, time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Redraw at most twice a second: reading the loss waits for the device."""
        self._images += batch.total * trainer.world_size / batch.parts
        now = time.perf_counter()
        if self._progress is None or now - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = now
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches / max(batch.share, 1e-9)
        numbers = f"loss {loss:.3f}  {self._images / (now - self._since):,.0f} images/s{_accuracy(pl_module)}"
        self._progress.update(
            self._progress.task_ids[0],
            completed=trainer.global_step,
            description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            numbers=numbers,
        )
        self._progress.refresh()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sum the epoch up in a line."""
        if not trainer.is_global_zero:
            return
        results: dict[str, float] = pl_module.results  # type: ignore[assignment]
        done = trainer.global_step - self._first_step
        left = (
            (time.perf_counter() - self._started)
            / max(done, 1)
            * (int(trainer.estimated_stepping_batches) - trainer.global_step)
        )
        log.info(
            "epoch %d/%s  train loss %.3f top1 %.1f%%%s  %s left",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            results["train/loss"],
            100 * results["train/top1"],
            _accuracy(pl_module),
            duration(left),
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the bar away."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _accuracy(pl_module: LightningModule) -> str:
    results: dict[str, float] = pl_module.results  # type: ignore[assignment]
    parts = [
        f"  {split} top1 {100 * results[f'{split}/top1']:.1f}%"
        for split in ("val", "test")
        if f"{split}/top1" in results
    ]
    return "".join(parts)
