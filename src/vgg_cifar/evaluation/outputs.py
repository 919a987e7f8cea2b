"""Keeps what a network says of every image of a test."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vgg_cifar.data.loader import Batch


class Outputs(Callback):
    """Collects the logits of a `Classifier`'s test, whichever rank computed them.

    Attributes:
        logits: float32 [n, classes] on the CPU, in the split's order, the same on every rank; of the latest test, None
            before the first.
    """

    logits: Tensor | None = None

    def __init__(self) -> None:
        self._pieces: list[tuple[int, Tensor]] = []

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget a test that was broken off."""
        self._pieces = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's."""
        if batch.count:
            self._pieces.append((batch.start, outputs))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put them together: where a rank has nothing it has zeros, so that their sum is exact."""
        pieces, self._pieces = self._pieces, []
        count = torch.tensor(sum(len(piece) for _, piece in pieces), device=pl_module.device)
        classes = torch.tensor(pieces[0][1].shape[1] if pieces else 0, device=pl_module.device)
        if trainer.world_size > 1:
            torch.distributed.all_reduce(count)
            torch.distributed.all_reduce(classes, torch.distributed.ReduceOp.MAX)
        whole = torch.zeros(int(count), int(classes), device=pl_module.device)
        for start, piece in pieces:
            whole[start : start + len(piece)] = piece
        if trainer.world_size > 1:
            torch.distributed.all_reduce(whole)
        self.logits = whole.cpu()
