"""When a run saves itself, and what a checkpoint says of where the run stands.

A checkpoint is only ever made where a run can go on exactly: after a whole optimizer step, before a validation that
will be done again, or between two epochs, once everything about the first is logged. What Lightning itself writes of
its loops depends on the hook that saves; here the same place in a run is always described in the same way.
"""

from __future__ import annotations

import math
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer, callbacks
from lightning.pytorch.callbacks import Checkpoint

from vgg_cifar.ddp import Consensus
from vgg_cifar.errors import Interrupted
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.stopwatch import Stopwatch
from vgg_cifar.signals import Signals

SAVE, STOP = 1, 2
"""What a rank may wish for; of several wishes the largest comes true."""
COUNTERS = ("ready", "started", "processed", "completed")


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, but a run that goes on has the patience it is given now, not the one in its checkpoint."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """All but the patience."""
        super().load_state_dict(state_dict | {"patience": self.patience})


class Saving(Checkpoint):
    """Writes the last checkpoint, the best one and those that stay, and ends the run where a signal asked for it.

    A `Checkpoint`, since Lightning calls those after the module has logged its epoch, other callbacks before. It has to
    be the last of them, to save what the others have done.

    Args:
        folder: the run's.
        signals: whether this process was asked to stop.
        stopwatch: stands still meanwhile.
        every_epochs: epochs between checkpoints; None: one at the end of the run.
        every_minutes: minutes of rank 0's clock between checkpoints within an epoch; None: none.
        every_steps: optimizer steps between checkpoints within an epoch; None: none.
        keep_every_epochs: epochs between checkpoints that stay; None: none does.
        at_start: whether to write one before the first step.

    Attributes:
        best: the highest val/top1 so far, as a fraction.
        stopped: whether early stopping has ended the run.
        ended_at: how many epochs the run was to have when it came to its end; None if it has not.
        setbacks: each time that the run went back to a checkpoint with a lower learning rate.
    """

    def __init__(
        self,
        folder: RunFolder,
        signals: Signals,
        stopwatch: Stopwatch,
        *,
        every_epochs: int | None = 1,
        every_minutes: float | None = None,
        every_steps: int | None = None,
        keep_every_epochs: int | None = None,
        at_start: bool = False,
    ) -> None:
        self.folder = folder
        self.signals = signals
        self.stopwatch = stopwatch
        self.every_epochs = every_epochs
        self.every_minutes = every_minutes
        self.every_steps = every_steps
        self.keep_every_epochs = keep_every_epochs
        self.at_start = at_start
        self.best: float | None = None
        self.stopped = False
        self.ended_at: int | None = None
        self.setbacks: list[dict[str, Any]] = []
        self._consensus = Consensus()
        self._saved_at = time.monotonic()
        self._place = (0, 0)

    def state_dict(self) -> dict[str, Any]:
        """The attributes above."""
        return {name: getattr(self, name) for name in ("best", "stopped", "ended_at", "setbacks")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The attributes above."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the best accuracy from Lightning's own account, in a checkpoint of an older version."""
        for key, state in checkpoint["callbacks"].items():
            if key.startswith("ModelCheckpoint") and state.get("best_model_score") is not None:
                self.best = float(state["best_model_score"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin, or go on where a checkpoint was made."""
        loop = trainer.fit_loop.epoch_loop
        if not loop.batch_progress.current.ready:
            loop.restarting = False  # where steps are limited, Lightning takes every epoch for one to go on with
        if self.ended_at is not None and (trainer.max_epochs or 0) > self.ended_at:  # a longer run has its own end
            self.stopped, self.ended_at = False, None
            for each in trainer.early_stopping_callbacks:
                each.wait_count = 0
        trainer.should_stop = self.stopped
        self._saved_at = time.monotonic()
        if self.at_start and not trainer.global_step:
            self._save(trainer, 0, 0)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save after a whole step, if it is time or somebody wants the run to stop."""
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate():
            return
        wish = self._consensus.reached(self._wish)
        ends_epoch = trainer.is_last_batch or loop._is_training_done
        counted = self.every_steps is not None and trainer.global_step % self.every_steps == 0
        if not ends_epoch and (wish or counted):
            self._save(trainer, trainer.current_epoch, loop.batch_progress.current.ready)
        if wish == STOP and not ends_epoch:
            raise Interrupted

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop, if somebody wants to: the validation will be done again."""
        loop = trainer.fit_loop.epoch_loop
        if self._consensus.reached(self._wish) == STOP and loop.global_step != loop.max_steps:
            self._save(trainer, trainer.current_epoch, loop.batch_progress.current.ready)
            raise Interrupted

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save between epochs."""
        done = trainer.current_epoch + 1
        self.stopped = trainer.should_stop
        over = self.stopped or done >= (trainer.max_epochs or 0) or trainer.global_step == trainer.max_steps
        self.ended_at = trainer.max_epochs if over else None
        results: dict[str, float] = pl_module.results  # type: ignore[assignment]
        top1 = results.get("val/top1", -math.inf)
        better = top1 > (-math.inf if self.best is None else self.best)
        if better:
            self.best = top1
        due = over or (self.every_epochs is not None and done % self.every_epochs == 0)
        wish = self._consensus.reached(self._wish)
        stays = self.keep_every_epochs is not None and done % self.keep_every_epochs == 0
        if due or better or wish or stays:
            self._save(trainer, done, 0, last=due or stays or bool(wish), best=better, stays=stays)
        else:
            self._write_metrics(trainer)
        if wish == STOP:
            raise Interrupted

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Describe where the run stands; `epoch` is, as Lightning has it, the number from 0 of the last one begun."""
        epochs, batches = self._place
        checkpoint["epoch"] = epochs if batches else epochs - 1
        ends = bool(batches) and batches == trainer.num_training_batches
        stand(checkpoint["loops"]["fit_loop"], epochs, batches, trainer.global_step, before_validation=ends)

    def _wish(self) -> int:
        if self.signals.asked:
            return STOP
        minutes = (time.monotonic() - self._saved_at) / 60
        return SAVE if self.every_minutes is not None and minutes >= self.every_minutes else 0

    def _write_metrics(self, trainer: Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()

    def _save(
        self,
        trainer: Trainer,
        epochs: int,
        batches: int,
        *,
        last: bool = True,
        best: bool = False,
        stays: bool = False,
    ) -> None:
        """Write a checkpoint that says how many epochs are done, and how many batches of the next."""
        self._place = (epochs, batches)
        trainer.lightning_module.check_that_all_is_finite()  # type: ignore[operator]
        with self.stopwatch.paused(trainer):
            self._write_metrics(trainer)  # before the checkpoint: what was logged up to it is never missing
            trainer.save_checkpoint(self.folder.checkpoint(".new"), weights_only=False)
            if trainer.is_global_zero:
                checkpoints.place(self.folder, last=last, best=best, of_epoch=epochs if stays else None)
        if last:
            self._saved_at = time.monotonic()


def stand(loop: dict[str, Any], epochs: int, batches: int, step: int, *, before_validation: bool) -> None:
    """Put Lightning's account of its loops to a place in the run.

    Args:
        loop: the state of its fit loop, changed in place.
        epochs: that are done.
        batches: that are done of the next epoch; 0 if it has not begun.
        step: optimizer steps taken.
        before_validation: whether these are all of its batches.
    """
    epoch = {**dict.fromkeys(COUNTERS, epochs), **dict.fromkeys(("ready", "started"), epochs + bool(batches))}
    loop["epoch_progress"] = {"total": epoch, "current": dict(epoch)}
    progress = loop["epoch_loop.batch_progress"]
    progress["total"] = dict.fromkeys(COUNTERS, progress["total"]["ready"])
    progress["current"] = dict.fromkeys(COUNTERS, batches)
    progress["is_last_batch"] = before_validation
    # A validation counts as one to go on with if a batch was begun and not done.
    begun = dict.fromkeys(("ready", "started"), int(before_validation))
    loop["epoch_loop.val_loop.batch_progress"] = {
        "total": {**dict.fromkeys(COUNTERS, 0), **begun},
        "current": dict.fromkeys(COUNTERS, 0),
        "is_last_batch": False,
    }
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] = step - before_validation


def of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of the attributes of `Saving`; nothing in one of an older version."""
    state: dict[str, Any] = checkpoint.get("callbacks", {}).get(Saving.__name__, {})
    return state


def lower_rate(checkpoint: dict[str, Any], factor: float, setback: dict[str, Any], best: float | None) -> None:
    """Multiply the learning rate of all that follows a checkpoint; changed in place.

    Args:
        checkpoint: to go back to.
        factor: below 1.
        setback: what to remember of this.
        best: the highest val/top1 so far, which may have come after the checkpoint.
    """
    for optimizer in checkpoint["optimizer_states"]:
        for group in optimizer["param_groups"]:
            group["lr"] *= factor
            group["initial_lr"] *= factor
    for schedule in checkpoint["lr_schedulers"]:
        for rates in ("base_lrs", "_last_lr"):
            schedule[rates] = [rate * factor for rate in schedule[rates]]
    state = of(checkpoint)
    checkpoint["callbacks"][Saving.__name__] = state | {"best": best, "setbacks": [*state.get("setbacks", []), setback]}
