"""The LightningModule: a network, its loss, its metrics, its optimizer; nothing about files or folders."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vgg_cifar import draws
from vgg_cifar.data.loader import Batch
from vgg_cifar.metrics import Tally
from vgg_cifar.optimizer import OptimizerOptions
from vgg_cifar.schedule import ScheduleOptions
from vgg_cifar.weight_decay import WeightDecayOptions


class Classifier(LightningModule):
    """Trains and evaluates an image classifier.

    Args:
        network: normalised images [n, 3, 32, 32] to logits [n, classes].
        superclass_of: int64 [classes], or None where classes have no superclass.
        optimizer: needed to fit.
        weight_decay: needed to fit.
        schedule: needed to fit.
        label_smoothing: share of the target spread over all classes (Szegedy et al., 2016), in training only.
        seed: the run's; decides what dropout drops.
    """

    def __init__(
        self,
        network: nn.Module,
        superclass_of: Tensor | None = None,
        *,
        optimizer: OptimizerOptions | None = None,
        weight_decay: WeightDecayOptions | None = None,
        schedule: ScheduleOptions | None = None,
        label_smoothing: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network: nn.Module = network
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.seed = seed
        self.tallies = nn.ModuleDict(
            # nn.Module has an attribute `train` of its own: no key may be called so.
            {
                "train_split": Tally(),
                "val_split": Tally(top=(1, 5)),
                "test_split": Tally(top=(1, 5), superclass_of=superclass_of),
            }
        )
        self.results: dict[str, float] = {}
        """The latest value of every metric, by its logged name."""
        self._lately: list[Tensor] = []
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
        return {
            "optimizer": optimizer,
            "lr_scheduler": self.schedule.build(optimizer, int(self.trainer.estimated_stepping_batches)),
        }

    def on_train_start(self) -> None:
        """A run that goes on to more epochs than before leaves the old curve of the learning rate at once."""
        assert self.schedule is not None
        total = int(self.trainer.estimated_stepping_batches)
        self.schedule.rejoin(self.trainer.optimizers[0], self.trainer.global_step, total)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """What dropout drops depends on (seed, epoch, batch, rank), not on what was drawn before."""
        torch.manual_seed(draws.key(self.seed, "dropout", self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of this part of a step, weighted so that the parts add up to the mean over the step's images."""
        logits = self.network(batch.images).float()
        labels, losses = batch.labels, self._losses(logits, batch.labels)
        if batch.mixed_in is not None and batch.own_share is not None:
            share = batch.own_share.to(losses.dtype)  # Lightning gives all numbers of a batch the network's type
            losses = torch.lerp(self._losses(logits, batch.mixed_in), losses, share)
            labels = torch.where(share >= 0.5, labels, batch.mixed_in)
        loss = losses.mean()
        if batch.count:
            self._tally(batch.split).update(logits.detach(), labels, losses.detach())
            self._lately.append(loss.detach())
        first_part = batch_idx % self.trainer.accumulate_grad_batches == 0
        if first_part and self.trainer.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log_step()
        return loss * batch.share

    def on_train_epoch_end(self) -> None:
        """Log the epoch's training loss and accuracy, as they were while the weights moved."""
        self._lately.clear()
        self._log_tally("train")

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count a batch of the split it belongs to."""
        self._evaluated.add(batch.split)
        if batch.count:
            logits = self.network(batch.images).float()
            losses = F.cross_entropy(logits, batch.labels, reduction="none")
            self._tally(batch.split).update(logits, batch.labels, losses)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a batch."""
        self.validation_step(batch, batch_idx)

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

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing, reduction="none")

    def _tally(self, split: str) -> Tally:
        return self.tallies[f"{split}_split"]  # type: ignore[return-value]

    def _log_tally(self, split: str) -> None:
        tally = self._tally(split)
        # Already summed over the ranks: every rank logs the same value.
        for name, value in tally.compute().items():
            self.results[f"{split}/{name}"] = round(float(value), 10)
            self.log(f"{split}/{name}", value.float())
        tally.reset()

    def _log_step(self) -> None:
        """Learning rate and recent loss, straight to the loggers: `self.log` costs 0.3 ms at every call."""
        if not self.trainer.is_global_zero or not self._lately:
            return
        optimizer = self.trainer.optimizers[0]
        values = {
            "lr": float(optimizer.param_groups[0]["lr"]),
            "train/step_loss": float(torch.stack(self._lately).mean()),
        }
        self._lately.clear()
        for logger in self.trainer.loggers:
            logger.log_metrics(values | {"epoch": float(self.current_epoch)}, step=self.trainer.global_step)

    def _share_batch_norm(self) -> None:
        """Give every rank the running statistics of rank 0, which are the ones that checkpoints hold."""
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)
