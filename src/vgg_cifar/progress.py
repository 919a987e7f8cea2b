"""What a person sees while a run goes on: a bar in a terminal, a line per epoch anywhere else."""

from __future__ import annotations

import logging
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from vgg_cifar.data.loader import Batch
from vgg_cifar.reporting.formatting import duration

log = logging.getLogger(__name__)
REFRESH_SECONDS = 0.5


class ProgressReport(Checkpoint):
    """A bar for each epoch, with loss, accuracy, images per second and the time left of the run; then a line.

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
        """Begin to measure; an epoch that goes on has a bar at once, since Lightning does not tell of its start."""
        self._started = time.perf_counter()
        self._first_step = trainer.global_step
        if trainer.fit_loop.epoch_loop.batch_progress.current.ready:
            self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw an empty bar."""
        self._images, self._since = 0.0, time.perf_counter()
        if self.bar and trainer.is_global_zero:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.percentage:>3.0f}%  {task.fields[numbers]}"),
                console=self.console,
                auto_refresh=False,
                expand=True,
                transient=True,
            )
            self._progress.start()
            self._progress.add_task(_epoch(trainer), total=trainer.num_training_batches, numbers="")

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
        rate = self._images / (now - self._since)
        numbers = f"loss {loss:.3f}  {rate:,.0f} images/s{_accuracy(pl_module)}  {self._left(trainer)}"
        self._progress.update(self._progress.task_ids[0], completed=batch_idx + 1, numbers=numbers)
        self._progress.refresh()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what takes the time now."""
        if self._progress is not None:
            task = self._progress.task_ids[0]
            self._progress.update(task, completed=trainer.num_training_batches, numbers="evaluating ...")
            self._progress.refresh()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put a line in the place of the bar."""
        self._stop()
        if not trainer.is_global_zero:
            return
        results: dict[str, float] = pl_module.results  # type: ignore[assignment]
        log.info(
            "%s  train loss %.3f top1 %.1f%%%s  %s",
            _epoch(trainer),
            results["train/loss"],
            100 * results["train/top1"],
            _accuracy(pl_module),
            self._left(trainer),
        )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the bar away."""
        self._stop()

    def _left(self, trainer: Trainer) -> str:
        """The time left of the run, at the pace of this process so far, evaluations included."""
        done = max(1, trainer.global_step - self._first_step)
        steps = int(trainer.estimated_stepping_batches) - trainer.global_step
        return f"{duration((time.perf_counter() - self._started) / done * steps)} left"

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _epoch(trainer: Trainer) -> str:
    return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"


def _accuracy(pl_module: LightningModule) -> str:
    results: dict[str, float] = pl_module.results  # type: ignore[assignment]
    parts = [
        f"  {split} top1 {100 * results[f'{split}/top1']:.1f}%"
        for split in ("val", "test")
        if f"{split}/top1" in results
    ]
    return "".join(parts)
