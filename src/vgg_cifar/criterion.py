"""What a network is to come close to: labels, smoothed and mixed, and what teachers say of the images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vgg_cifar.data.loader import Batch
from vgg_cifar.teachers import Source, Teachers


class Criterion:
    """The loss of each image of a training batch.

    Args:
        label_smoothing: share of the target spread over all classes (Szegedy et al., 2016).
        teachers: who has a share in the target, too.
    """

    def __init__(self, label_smoothing: float = 0.0, teachers: Teachers | None = None) -> None:
        self.label_smoothing = label_smoothing
        self.teachers = teachers
        self._opinion: Tensor
        """The teachers', about the batch of the last call."""

    @property
    def sources(self) -> list[Source]:
        """Where the teachers are from."""
        return [] if self.teachers is None else self.teachers.sources

    def __call__(
        self, logits: Tensor, batch: Batch, *, again: bool = False, compiled: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Losses, and the labels that count as right.

        Args:
            logits: float32 [n, classes].
            batch: n images, which may be mixtures: their loss is the mixture of two, and the larger share is right.
            again: whether it is the batch of the last call, about which teachers have been asked.
            compiled: whether they may be compiled for its shape.

        Returns:
            Float32 [n] and int64 [n].
        """
        labels, losses = batch.labels, self._losses(batch.labels, logits)
        if batch.mixed_in is not None and batch.own_share is not None:
            share = batch.own_share.to(losses.dtype)  # Lightning gives all numbers of a batch the network's type
            losses = torch.lerp(self._losses(batch.mixed_in, logits), losses, share)
            labels = torch.where(share >= 0.5, labels, batch.mixed_in)
        if self.teachers is not None:
            if not again:
                self._opinion = self.teachers.opinion(batch.images, compiled=compiled)
            losses = self.teachers.blend(losses, logits, self._opinion)
        return losses, labels

    def _losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing, reduction="none")
