"""Two training images in one: MixUp (Zhang et al., 2018), CutMix (Yun et al., 2019) and RegMixup (Pinto et al., 2022).

Each image's share, box and kind come from its own draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vgg_cifar import draws


@dataclass(frozen=True)
class Mixing:
    """How much of another image, and which part of it, comes into each.

    Attributes:
        kind: "mixup" averages the two images, "cutmix" puts a box of the other into the image, "both" takes one or the
            other, each for half of the images; "regmixup" averages, and keeps the images as they are before the
            averages (Pinto et al., "Using Mixup as a Regularizer Can Surprisingly Improve Accuracy and
            Out-of-Distribution Robustness", 2022).
        alpha: the share of the image is drawn from Beta(alpha, alpha); 1 draws it evenly.
        probability: share of the images that are mixed at all.
        seed: the run's; with epoch and image index it decides every draw.
    """

    kind: Literal["mixup", "cutmix", "both", "regmixup"]
    alpha: float
    probability: float
    seed: int

    def __call__(self, images: Tensor, others: Tensor, indices: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Mix.

        Args:
            images: float32 [n, c, h, w].
            others: of the same shape, what is mixed into each.
            indices: int64 [n], places of `images` in the training set.
            epoch: from 0.

        Returns:
            The mixtures, and float32 [n] in [0, 1]: the share of each that is of `images`. For a box, that is its area
            as it came out, in whole pixels and within the image. With "regmixup" both are of 2n: first `images`, of
            share 1, then their mixtures.
        """
        drawn = draws.beta(indices, self.alpha, self.seed, epoch, "mix share")
        mixed = draws.uniform(indices, self.seed, epoch, "mix") < self.probability
        share = torch.where(mixed, drawn, torch.ones_like(drawn))
        evenly = share[:, None, None].expand(-1, *images.shape[-2:])
        if self.kind in ("mixup", "regmixup"):
            weights = evenly
        else:
            weights = self._outside_a_box(share, indices, epoch, images.shape[-2], images.shape[-1])
            if self.kind == "both":
                boxed = draws.coin(indices, self.seed, epoch, "mix kind")[:, None, None]
                weights = torch.where(boxed, weights, evenly)
        mixtures, share = torch.lerp(others, images, weights[:, None]), weights.mean((1, 2))
        if self.kind == "regmixup":
            return torch.cat([images, mixtures]), torch.cat([torch.ones_like(share), share])
        return mixtures, share

    def _outside_a_box(self, share: Tensor, indices: Tensor, epoch: int, height: int, width: int) -> Tensor:
        """float32 [n, h, w]: 0 within a box of about 1 - share of the area, 1 elsewhere."""
        half = (1 - share).sqrt() / 2

        def outside(size: int, what: str) -> Tensor:
            centre = draws.integers(indices, size, self.seed, epoch, what)
            reach = (half * size).floor()
            place = torch.arange(size, device=indices.device)
            return (place < (centre - reach)[:, None]) | (place >= (centre + reach)[:, None])

        rows, columns = outside(height, "mix row"), outside(width, "mix column")
        return (rows[:, :, None] | columns[:, None, :]).float()
