"""The `averaging` group: weights averaged over the course of training, beside those being trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vgg_cifar.options import Count, Fraction, Options

if TYPE_CHECKING:
    from lightning.pytorch import Callback


class NoAveraging(Options):
    """The trained weights are the result."""

    name: Literal["none"]

    def build(self) -> list[Callback]:
        """Nothing to add."""
        return []


class EMA(Options):
    """Exponential moving average of the weights (Polyak & Juditsky, 1992)."""

    name: Literal["ema"]
    decay: Fraction
    """Share of the average kept at each update."""
    every: Count
    """Optimizer steps between updates."""
    bn_batches: Count | None
    """Training batches from which the batch-norm statistics of the average are measured anew after each epoch (a
    checkpoint in its middle holds those of the weights being trained); null averages them like the weights."""

    def build(self) -> list[Callback]:
        """The callback that keeps the average."""
        from torch.optim.swa_utils import get_ema_multi_avg_fn

        from vgg_cifar.weight_averaging import WeightAveraging

        return [WeightAveraging(get_ema_multi_avg_fn(self.decay), every=self.every, bn_batches=self.bn_batches)]


class SWA(Options):
    """Plain mean of the weights after each of the last epochs (Izmailov et al., 2018)."""

    name: Literal["swa"]
    start: Fraction
    """Fraction of the epochs to let pass before the first is averaged."""
    bn_batches: Count
    """Training batches from which the batch-norm statistics of the mean are measured anew after each epoch."""

    def build(self) -> list[Callback]:
        """The callback that keeps the average."""
        from torch.optim.swa_utils import get_swa_multi_avg_fn

        from vgg_cifar.weight_averaging import WeightAveraging

        return [WeightAveraging(get_swa_multi_avg_fn(), start=self.start, bn_batches=self.bn_batches)]


AveragingOptions = Annotated[NoAveraging | EMA | SWA, Field(discriminator="name")]
