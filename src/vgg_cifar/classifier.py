"""The LightningModule: a network, its loss, its metrics, its optimizer; nothing about files or folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import Optimizer

from vgg_cifar import draws, hardware
from vgg_cifar.criterion import Criterion
from vgg_cifar.data.loader import Batch
from vgg_cifar.errors import DivergedError
from vgg_cifar.metrics import Tally
from vgg_cifar.optimizer import OptimizerOptions
from vgg_cifar.schedule import ScheduleOptions
from vgg_cifar.sharpness import SharpnessOptions
from vgg_cifar.stepping import Stepping
from vgg_cifar.weight_decay import WeightDecayOptions


class Classifier(LightningModule):
    """Trains and evaluates an image classifier.

    Args:
        network: normalised images [n, 3, 32, 32] to logits [n, classes].
        superclass_of: int64 [classes], or None where classes have no superclass.
        classes: a name per class, for those who read a checkpoint.
        superclass_names: of each class, the name of its superclass, for the same.
        optimizer: needed to fit.
        weight_decay: needed to fit.
        schedule: needed to fit.
        sharpness: whether a step takes a second pass, from uphill; None for no.
        criterion: the loss of training; None for the labels as they are.
        seed: the run's; decides what dropout drops.
        compile: whether training goes through a compiled form of the network, whose weights and keys are the network's;
            "graphs": whole steps as CUDA graphs, too.
    """

    def __init__(
        self,
        network: nn.Module,
        superclass_of: Tensor | None = None,
        *,
        classes: Sequence[str] = (),
        superclass_names: Sequence[str] = (),
        optimizer: OptimizerOptions | None = None,
        weight_decay: WeightDecayOptions | None = None,
        schedule: ScheduleOptions | None = None,
        sharpness: SharpnessOptions | None = None,
        criterion: Criterion | None = None,
        seed: int = 0,
        compile: bool | Literal["graphs"] = False,
    ) -> None:
        super().__init__()
        self.network: nn.Module = network
        self.stepping = Stepping(network, compile)
        self.classes = list(classes)
        self.superclass_names = list(superclass_names)
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.schedule = schedule
        self._ascent = sharpness.build(network) if sharpness is not None else None
        self.criterion = criterion or Criterion()
        self.seed = seed
        # A superclass is shown by its name; without names there is nothing to show.
        names = [] if superclass_of is None else zip(superclass_of.tolist(), superclass_names, strict=False)
        self._shown_superclasses = dict(sorted(names))
        group_of = superclass_of if self._shown_superclasses else None
        self.tallies = nn.ModuleDict(
            # nn.Module has an attribute `train` of its own: no key may be called so.
            {
                "train_split": Tally(),
                "val_split": Tally(top=(1, 5), group_of=group_of),
                "test_split": Tally(top=(1, 5), superclass_of=superclass_of, group_of=group_of),
            }
        )
        self.results: dict[str, float] = {}
        """The latest value of every metric, by its logged name."""
        self._lately: list[tuple[int, float, Tensor]] = []
        """Of each part of a step since the last time they were logged: the step, its learning rate, the loss."""
        self._evaluated: set[str] = set()

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        return self.network(images)  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        """The optimizer, and its learning rate as a function of the step."""
        if self.optimizer is None or self.weight_decay is None or self.schedule is None:
            raise RuntimeError("this classifier was made for evaluation: it has no optimizer, weight decay or schedule")
        # With float16 a fused step would unscale the gradients itself, too late to clip them; Lightning then refuses to
        # clip with any mixed precision.
        clipped = self.trainer.gradient_clip_val is not None and "mixed" in self.trainer.precision
        fused = self.trainer.precision != "16-mixed" and not clipped and self.device.type in ("cpu", "cuda")
        optimizer = self.optimizer.build(self.weight_decay.groups(self.network), fused=fused)
        for group in optimizer.param_groups if self.stepping.has_graphs else ():
            if "capturable" in group:
                group["capturable"] = True
        return {
            "optimizer": optimizer,
            "lr_scheduler": self.schedule.build(optimizer, int(self.trainer.estimated_stepping_batches)),
        }

    def on_fit_start(self) -> None:
        """Have the teachers, if there are any, where the network is."""
        if self.criterion.teachers is not None:
            self.criterion.teachers.to(self.device, next(self.network.parameters()).dtype)

    def on_train_start(self) -> None:
        """A run that goes on to more epochs than before leaves the old curve of the learning rate at once."""
        assert self.schedule is not None
        total = int(self.trainer.estimated_stepping_batches)
        self.schedule.rejoin(self.trainer.optimizers[0], self.trainer.global_step, total)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """What dropout drops depends on (seed, epoch, batch, rank), not on what was drawn before."""
        hardware.seed(draws.key(self.seed, "dropout", self.current_epoch, batch_idx, self.global_rank), self.device)
        self.stepping.begin(batch)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Say that the batch is done with."""
        self.stepping.end()

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Learn from a batch; with `sharpness`, by the gradients from uphill."""
        closure = optimizer_closure
        if self._ascent is not None and optimizer_closure is not None:
            closure = partial(self._ascent, optimizer_closure)
        step = partial(super().optimizer_step, epoch, batch_idx, optimizer, closure)
        repeated = self.stepping.take(step, optimizer_closure, self.trainer.optimizers[0])
        if repeated is not None:
            self._tally("train").counted()
            self._note(repeated, self.stepping.batch, batch_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of this part of a step, weighted so that the parts add up to the mean over the step's images.

        With RegMixup (Pinto et al., 2022) it is the mean over images and mixtures alike, so half of the paper's sum
        with eta = 1: twice its learning rate and half its weight decay take the same steps. What is tallied is of the
        whole images alone.
        """
        batch = self.stepping.placed(batch)
        loss = self._learn(batch)
        if self.stepping.is_recording:
            self.stepping.keep(loss.detach())
        elif not self._is_uphill:
            self._note(loss.detach(), batch, batch_idx)
        return loss * batch.share

    @property
    def _is_uphill(self) -> bool:
        """Whether this is the second pass of a sharpness-aware step: nothing is counted twice."""
        return self._ascent is not None and self._ascent.uphill

    def _learn(self, batch: Batch) -> Tensor:
        """The mean loss of a batch, which is tallied: nothing but work for the device."""
        logits = self.stepping.logits(batch).float()
        losses, labels = self.criterion(logits, batch, again=self._is_uphill, compiled=self.stepping.compiles(batch))
        if batch.count and not self._is_uphill:
            whole = slice(batch.count)
            self._tally(batch.split).update(logits.detach()[whole], labels[whole], losses.detach()[whole])
        return losses.mean()

    def _note(self, loss: Tensor, batch: Batch, batch_idx: int) -> None:
        """Keep a loss until it is logged, and log when it is time."""
        if batch.count:
            self._lately.append((self.trainer.global_step, self._rate, loss))
        first_part = batch_idx % self.trainer.accumulate_grad_batches == 0
        if first_part and self.trainer.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log_step()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's training loss and accuracy, as they were while the weights moved."""
        self._check_losses()
        self._lately.clear()
        self._log_tally("train")

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count a batch of the split it belongs to."""
        self._logits(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count a batch; its logits, float32 [count, classes], for who listens."""
        return self._logits(batch)

    def _logits(self, batch: Batch) -> Tensor:
        self._evaluated.add(batch.split)
        logits: Tensor = self.network(batch.images).float()[: batch.count]
        if batch.count:
            losses = F.cross_entropy(logits, batch.labels, reduction="none")
            self._tally(batch.split).update(logits, batch.labels, losses)
        return logits

    def on_validation_epoch_start(self) -> None:
        """Begin with the same network on every rank."""
        self._share_batch_norm()

    def on_test_epoch_start(self) -> None:
        """Begin with the same network on every rank."""
        self._share_batch_norm()

    def on_validation_epoch_end(self) -> None:
        """Log what was counted: validation, or test where that is monitored."""
        for split in sorted(self._evaluated):
            self._log_tally(split)
        self._evaluated.clear()

    def on_test_epoch_end(self) -> None:
        """Log what was counted."""
        self.on_validation_epoch_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the logits stand for; what of an epoch is over, each rank's share by itself; the metrics so far."""
        checkpoint["classes"], checkpoint["superclasses"] = self.classes, self.superclass_names
        tally = self._tally("train")
        checkpoint["epoch_so_far"] = {
            "tally": {name: self._of_all_ranks(value) for name, value in tally.sums().items()},
            "lately": [(step, rate, float(loss)) for step, rate, loss in self._lately],
            "results": dict(self.results),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it; on another number of ranks the first takes what all had."""
        so_far = checkpoint.get("epoch_so_far")
        if so_far is None:  # a checkpoint of an older version, which knew none but whole epochs
            return
        self.results = dict(so_far["results"])
        ranks, own = len(so_far["tally"]["count"]), self.global_rank
        if ranks == self.trainer.world_size:
            shares = {name: value[own] for name, value in so_far["tally"].items()}
        else:
            shares = {name: value.sum(0) * (own == 0) for name, value in so_far["tally"].items()}
        self._tally("train").resume(shares)
        self._lately = [(step, rate, torch.tensor(loss)) for step, rate, loss in so_far["lately"]]

    def check_that_all_is_finite(self) -> None:
        """Raise DivergedError if a loss or a weight is not a finite number."""
        self._check_losses()
        finite = torch.stack([parameter.isfinite().all() for parameter in self.network.parameters()]).all()
        if not self.trainer.strategy.reduce_boolean_decision(bool(finite), all=True):
            raise DivergedError("a weight", self.trainer.global_step - 1, self._rate)

    def publish(self, values: dict[str, float], begun: int = 0, *, details: bool = False) -> None:
        """Give values to the loggers at once: `self.log` would keep them until after an epoch's checkpoint is written.

        Args:
            values: by their names; only rank 0 gives them.
            begun: 0 to put them under the step that was taken last, 1 under the one that goes on, counted from 0.
            details: whether they are for those loggers only that have an attribute `takes_details`, which is true.
        """
        step = self.trainer.global_step - (0 if self.trainer.testing else 1 - begun)
        for logger in self.trainer.loggers if self.trainer.is_global_zero else ():
            if not details or getattr(logger, "takes_details", False):
                logger.log_metrics(values | {"epoch": float(self.current_epoch)}, step=step)

    @property
    def _rate(self) -> float:
        """The learning rate of the step that goes on."""
        return float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def _of_all_ranks(self, value: Tensor) -> Tensor:
        """The values of all ranks, in a new first dimension."""
        gathered = self.all_gather(value)
        assert isinstance(gathered, Tensor)
        return gathered.reshape(-1, *value.shape)

    def _tally(self, split: str) -> Tally:
        return self.tallies[f"{split}_split"]  # type: ignore[return-value]

    def _log_tally(self, split: str) -> None:
        tally = self._tally(split)
        found = tally.compute()
        values = {f"{split}/{name}": float(value) for name, value in found.items() if value.ndim == 0}
        by_group = found["top1_by_group"].tolist() if "top1_by_group" in found else []
        tally.reset()
        self.results |= {name: round(value, 10) for name, value in values.items()}
        self.publish(values)
        named = {f"{split}_top1_by_superclass/{self._shown_superclasses[k]}": top1 for k, top1 in enumerate(by_group)}
        self.publish({name: top1 for name, top1 in named.items() if isfinite(top1)}, details=True)
        if split == "val":
            self.log("val/top1", values["val/top1"], logger=False)  # for early stopping; the same on every rank

    def _log_step(self) -> None:
        """Learning rate and recent loss."""
        losses = self._check_losses()
        if losses is not None:
            self.publish({"lr": self._lately[-1][1], "train/step_loss": float(losses.mean())}, begun=1)
        self._lately.clear()

    def _check_losses(self) -> Tensor | None:
        """The recent losses; raises DivergedError on all ranks if one of any is not a finite number."""
        losses = torch.stack([loss.to(self.device) for *_, loss in self._lately]) if self._lately else None
        finite = losses is None or bool(losses.isfinite().all())
        if self.trainer.strategy.reduce_boolean_decision(finite, all=True):
            return losses
        if finite:
            raise DivergedError("the loss of another rank", self.trainer.global_step, self._rate)
        step, rate, loss = next(each for each in self._lately if not each[2].isfinite())
        raise DivergedError(f"the loss ({float(loss)})", step, rate)

    def _share_batch_norm(self) -> None:
        """Give every rank the running statistics of rank 0, which are the ones that checkpoints hold."""
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)
