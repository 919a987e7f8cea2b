"""Moving pixels: shifts, mirror images and rotations of a whole batch by one gather each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vgg_cifar import draws


@dataclass(frozen=True)
class Geometry:
    """Crop, flip and rotation with draws of their own for every image.

    Attributes:
        seed: the run's seed; with epoch and image index it decides every draw.
        padding: largest shift in pixels; what comes into view is black.
        flip: whether half of the images are mirrored.
        degrees: largest rotation to either side; 0 leaves it out.
    """

    seed: int
    padding: int = 0
    flip: bool = False
    degrees: float = 0.0

    def __call__(self, images: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """Augment uint8 [n, 3, 32, 32] whose places in the training set are `indices`, int64 [n]."""
        reach = 2 * self.padding + 1
        top = draws.integers(indices, reach, self.seed, epoch, "top")
        left = draws.integers(indices, reach, self.seed, epoch, "left")
        mirrored = draws.coin(indices, self.seed, epoch, "flip") if self.flip else torch.zeros_like(indices).bool()
        images = crop_and_flip(images, self.padding, top, left, mirrored)
        if self.degrees:
            turn = (2 * draws.uniform(indices, self.seed, epoch, "rotate") - 1) * self.degrees
            images = rotate(images, turn)
        return images


def crop_and_flip(images: Tensor, padding: int, top: Tensor, left: Tensor, mirrored: Tensor) -> Tensor:
    """Pad with black, cut out a window of the original size, mirror some of the windows.

    Args:
        images: uint8 [n, c, h, w].
        padding: pixels added on every side.
        top: int64 [n] in [0, 2 * padding], the window's first row.
        left: int64 [n] in [0, 2 * padding], the window's first column.
        mirrored: bool [n].

    Returns:
        uint8 [n, c, h, w]; equal to torchvision's `pad`, `crop` and `hflip` on each image.
    """
    height, width = images.shape[-2:]
    columns = torch.arange(width, device=images.device)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns) + left[:, None]
    rows = torch.arange(height, device=images.device) + top[:, None]
    padded = F.pad(images, [padding] * 4)
    return _gather(padded, rows[:, :, None] * padded.shape[-1] + columns[:, None, :])


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate each image about its centre to the nearest pixel; what comes into view is black.

    Args:
        images: uint8 [n, c, h, w].
        degrees: float32 [n], counter-clockwise.

    Returns:
        uint8 [n, c, h, w]; equal to torchvision's `rotate` but for pixels whose source lies midway between two.
    """
    height, width = images.shape[-2:]
    radians = degrees * (math.pi / 180)
    cos, sin = radians.cos()[:, None, None], radians.sin()[:, None, None]
    y = torch.arange(height, device=images.device)[:, None] - (height - 1) / 2
    x = torch.arange(width, device=images.device)[None, :] - (width - 1) / 2
    rows = (sin * x + cos * y + (height - 1) / 2).round().long()
    columns = (cos * x - sin * y + (width - 1) / 2).round().long()
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    source = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    return _gather(images, source) * inside[:, None]


def _gather(images: Tensor, source: Tensor) -> Tensor:
    """Take pixel `source` (int64 [n, h, w], into the flattened image) of every channel of its image."""
    channels = images.shape[1]
    flat = source.flatten(1)[:, None, :].expand(-1, channels, -1)
    return images.flatten(2).gather(2, flat).reshape(-1, channels, *source.shape[1:])
