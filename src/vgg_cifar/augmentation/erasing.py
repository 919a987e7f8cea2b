"""Covering a rectangle of each image with one colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from vgg_cifar import draws
from vgg_cifar.augmentation.batch import only

TRIES = 10


@dataclass(frozen=True)
class Erasing:
    """Some images lose a rectangle (Z. Zhong et al., "Random Erasing Data Augmentation", 2020).

    Its area is drawn evenly from 2% to 33% of the image's, the logarithm of its ratio of height to width evenly between
    those of 0.3 and 3.3, until it is smaller than the image or ten such draws have failed; then its place, inside.

    Attributes:
        seed: the run's.
        probability: an image's chance to lose one.
        colour: what is left there: red, green, blue in [0, 255].
    """

    seed: int
    probability: float
    colour: tuple[int, int, int]

    def __call__(self, pixels: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """A `batch.Step`."""

        def erase(pixels: Tensor, indices: Tensor) -> Tensor:
            return cover(pixels, *self.rectangles(indices, epoch, *pixels.shape[1:3]), self.colour)

        chosen = draws.uniform(indices, self.seed, epoch, "erase") < self.probability
        return only(chosen, erase, pixels, pixels, indices)

    def rectangles(self, indices: Tensor, epoch: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Top, left, height and width, each int64 [n], of what would be erased; 0 high and wide if all draws failed."""
        high = wide = torch.zeros_like(indices)
        for attempt in reversed(range(TRIES)):  # the first that fits counts
            area = draws.uniform(indices, self.seed, epoch, "erase area", attempt) * (0.33 - 0.02) + 0.02
            part = draws.uniform(indices, self.seed, epoch, "erase ratio", attempt)
            ratio = (part * (math.log(3.3) - math.log(0.3)) + math.log(0.3)).exp()
            rows = (area * (height * width) * ratio).sqrt().round().long()
            columns = (area * (height * width) / ratio).sqrt().round().long()
            fits = (rows < height) & (columns < width)
            high, wide = torch.where(fits, rows, high), torch.where(fits, columns, wide)
        top = draws.uniform(indices, self.seed, epoch, "erase top") * (height - high + 1)
        left = draws.uniform(indices, self.seed, epoch, "erase left") * (width - wide + 1)
        return top.long(), left.long(), high, wide


@dataclass(frozen=True)
class Cutout:
    """Every image loses a square (T. DeVries and G. W. Taylor, "Improved Regularization of CNNs with Cutout", 2017).

    Its centre is any pixel, each as likely as another; what hangs over the edge covers nothing.

    Attributes:
        seed: the run's.
        side: of the square, in pixels.
        colour: what is left there: red, green, blue in [0, 255].
    """

    seed: int
    side: int
    colour: tuple[int, int, int]

    def __call__(self, pixels: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """A `batch.Step`."""
        height, width = pixels.shape[1:3]
        top = draws.integers(indices, height, self.seed, epoch, "cutout row") - self.side // 2
        left = draws.integers(indices, width, self.seed, epoch, "cutout column") - self.side // 2
        side = torch.full_like(indices, self.side)
        return cover(pixels, top, left, side, side, self.colour)


def cover(
    pixels: Tensor, top: Tensor, left: Tensor, high: Tensor, wide: Tensor, colour: tuple[int, int, int]
) -> Tensor:
    """Give the pixels of a rectangle one colour.

    Args:
        pixels: uint8 [n, h, w, 3].
        top: int64 [n], the first row; may lie outside of the image, as may the other edges.
        left: int64 [n], the first column.
        high: int64 [n], the number of rows.
        wide: int64 [n], the number of columns.
        colour: red, green, blue in [0, 255].

    Returns:
        uint8 [n, h, w, 3].
    """
    count, height, width, channels = pixels.shape
    rows = torch.arange(height, device=pixels.device)
    columns = torch.arange(width, device=pixels.device).repeat_interleave(channels)
    in_rows = (rows >= top[:, None]) & (rows < (top + high)[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    covered = (in_rows[:, :, None] & in_columns[:, None, :]).to(torch.uint8)
    flat = pixels.reshape(count, height, width * channels)
    paint = _row(colour, width, pixels.device)
    return (flat + (paint - flat) * covered).view(count, height, width, channels)  # modulo 256, which comes out even


@cache
def _row(colour: tuple[int, int, int], width: int, device: torch.device) -> Tensor:
    """A row of pixels of one colour, uint8 [3 * width], copied to the device once."""
    return torch.tensor(colour, dtype=torch.uint8).repeat(width).to(device)
