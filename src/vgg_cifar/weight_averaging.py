"""The callback behind the `averaging` group, on torch's `AveragedModel`.

Lightning's own averages the whole module, integer buffers included, and shows the untouched initial weights to the
validation until its first update; this one averages the network and steps in only once there is an average.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn


class WeightAveraging(Callback):
    """Keeps an average of `module.network`; evaluations and checkpoints are of the average once it exists.

    Args:
        average: torch's rule, for example `get_ema_multi_avg_fn(0.999)`.
        every: optimizer steps between updates; None: one at the end of each epoch.
        start: fraction of the epochs that pass before the first update.
        bn_batches: training batches from which batch-norm statistics are measured after each averaged epoch; None: they
            are averaged like the weights.
    """

    def __init__(
        self,
        average: Callable[..., None],
        every: int | None = None,
        start: float = 0.0,
        bn_batches: int | None = None,
    ) -> None:
        self.rule = average
        self.every = every
        self.start = start
        self.bn_batches = bn_batches
        self.averaged: AveragedModel | None = None
        self._step = 0
        self._swapped = False

    @property
    def ready(self) -> bool:
        """Whether anything has been averaged yet."""
        return self.averaged is not None and int(self.averaged.n_averaged) > 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make room for the average before a checkpoint may fill it."""
        if stage == "fit":
            self.averaged = AveragedModel(
                _network(pl_module),
                device=trainer.strategy.root_device,
                multi_avg_fn=self.rule,
                use_buffers=self.bn_batches is None,
            )
            trainer.precision_plugin.convert_module(self.averaged.module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that goes on counts from its own step; if it now averages later epochs, it begins anew with those."""
        self._step = trainer.global_step
        if self.averaged is not None and trainer.current_epoch < self.start * (trainer.max_epochs or 0):
            self.averaged.n_averaged.zero_()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Update the average after an optimizer step, if it is its turn."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        due = trainer.is_last_batch if self.every is None else self._step % self.every == 0
        assert self.averaged is not None
        if stepped and due and trainer.current_epoch >= self.start * (trainer.max_epochs or 0):
            self.averaged.update_parameters(_network(pl_module))
        if self.bn_batches is not None and trainer.is_last_batch and self.ready:
            self._measure_batch_norm(trainer)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in the network's place."""
        self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the network back."""
        self._swap(pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the average as the checkpoint's `state_dict`, and what is being trained beside it."""
        if not self.ready:
            return
        assert self.averaged is not None
        here = checkpoint["state_dict"]
        beside = {f"network.{k}": v for k, v in self.averaged.module.state_dict().items()}
        average, trained = (here, beside) if self._swapped else (beside, here)
        checkpoint["state_dict"], checkpoint["trained_state_dict"] = average, trained
        checkpoint["n_averaged"] = int(self.averaged.n_averaged)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on training from what was being trained."""
        if self.averaged is None or "trained_state_dict" not in checkpoint:
            return
        average = {k.removeprefix("network."): v for k, v in checkpoint["state_dict"].items()}
        self.averaged.module.load_state_dict(average)
        self.averaged.n_averaged.fill_(checkpoint["n_averaged"])
        pl_module.load_state_dict(checkpoint["trained_state_dict"])

    @torch.no_grad()
    def _swap(self, pl_module: LightningModule) -> None:
        if not self.ready:
            return
        assert self.averaged is not None
        for mine, its in zip(_tensors(self.averaged.module), _tensors(_network(pl_module)), strict=True):
            kept = mine.clone()
            mine.copy_(its)
            its.copy_(kept)
        self._swapped = not self._swapped

    def _measure_batch_norm(self, trainer: Trainer) -> None:
        assert self.averaged is not None
        assert trainer.train_dataloader is not None
        convert = trainer.precision_plugin.convert_input
        batches = (convert(batch.images) for batch in islice(trainer.train_dataloader.after(0), self.bn_batches))
        with torch.random.fork_rng(devices=[]), trainer.precision_plugin.forward_context():
            update_bn(batches, self.averaged.module)


def _network(pl_module: LightningModule) -> nn.Module:
    network = pl_module.network
    assert isinstance(network, nn.Module)
    return network


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]
