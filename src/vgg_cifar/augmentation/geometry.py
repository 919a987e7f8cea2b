"""Moving pixels: shifts, mirror images, rotations and every other affine map, for a whole batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vgg_cifar import draws
from vgg_cifar.augmentation.batch import only

PaddingMode = Literal["zero", "reflect"]


@dataclass(frozen=True)
class Crop:
    """A window of the original size out of the padded image, each place as likely as any other.

    Attributes:
        seed: the run's.
        padding: pixels added on every side, and so the largest shift.
        mode: what is added: black, or the image's mirror image at its edge.
    """

    seed: int
    padding: int
    mode: PaddingMode

    def __call__(self, pixels: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """A `batch.Step`."""
        reach = 2 * self.padding + 1
        top = draws.integers(indices, reach, self.seed, epoch, "top")
        left = draws.integers(indices, reach, self.seed, epoch, "left")
        return crop(pixels, self.padding, self.mode, top, left)


@dataclass(frozen=True)
class Flip:
    """Half of the images mirrored left to right.

    Attributes:
        seed: the run's.
        alternating: whether an image is drawn once, for epoch 0, and from then on mirrored every other epoch, so that
            two epochs show both sides of all images (K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
            2024); else it is drawn anew in each epoch.
    """

    seed: int
    alternating: bool = False

    def __call__(self, pixels: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """A `batch.Step`."""
        if self.alternating:
            mirrored = draws.coin(indices, self.seed, 0, "flip") ^ bool(epoch % 2)
        else:
            mirrored = draws.coin(indices, self.seed, epoch, "flip")
        return only(mirrored, mirror, pixels, pixels)


@dataclass(frozen=True)
class Rotation:
    """A rotation by an angle drawn evenly.

    Attributes:
        seed: the run's.
        degrees: the largest angle to either side.
    """

    seed: int
    degrees: float

    def __call__(self, pixels: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """A `batch.Step`."""
        return rotate(pixels, (2 * draws.uniform(indices, self.seed, epoch, "rotate") - 1) * self.degrees)


def crop(pixels: Tensor, padding: int, mode: PaddingMode, top: Tensor, left: Tensor) -> Tensor:
    """Pad, then cut out a window of the original size.

    Args:
        pixels: uint8 [n, h, w, c].
        padding: pixels added on every side, fewer than h and w for "reflect".
        mode: "zero" adds black, "reflect" what lies as far inside of the edge, the edge itself not repeated.
        top: int64 [n] in [0, 2 * padding], the window's first row.
        left: int64 [n] in [0, 2 * padding], the window's first column.

    Returns:
        uint8 [n, h, w, c]; equal to torchvision's `pad` and `crop` on each image.
    """
    count, height, width, channels = pixels.shape
    if mode == "zero":
        padded = F.pad(pixels, [0, 0, padding, padding, padding, padding + 1])
    else:
        rows, columns = (_reflected(side, padding, pixels.device) for side in (height, width))
        padded = pixels.index_select(1, torch.cat([rows, rows[:1]])).index_select(2, columns)
    # From a window's first pixel on, `height` whole rows of the padded image are one stretch of memory, and the window
    # is the left part of them. The row added below keeps the last stretch inside.
    _, rows_of_image, row, _ = padded.shape
    image = torch.arange(count, device=pixels.device) * (rows_of_image * row)
    stretches = padded.flatten().unfold(0, height * row * channels, channels)
    return stretches.index_select(0, image + top * row + left).view(count, height, row, channels)[:, :, :width]


def _reflected(side: int, padding: int, device: torch.device) -> Tensor:
    """Which pixel stands at each place of a side that is padded by reflection: int64 [side + 2 * padding]."""
    last = side - 1
    return last - (last - torch.arange(-padding, side + padding, device=device).abs()).abs()


def mirror(pixels: Tensor) -> Tensor:
    """Each image, uint8 [n, h, w, c], with left and right exchanged."""
    return pixels.flip(2)


def rotate(pixels: Tensor, degrees: Tensor) -> Tensor:
    """Rotate each image about its centre to the nearest pixel; what comes into view is black.

    Args:
        pixels: uint8 [n, h, w, c].
        degrees: float32 [n], counter-clockwise.

    Returns:
        uint8 [n, h, w, c]; equal to torchvision's `rotate` but for pixels whose source lies midway between two.
    """
    radians = degrees * (math.pi / 180)
    cos, sin, none = radians.cos(), radians.sin(), torch.zeros_like(radians)
    return affine(pixels, torch.stack([cos, -sin, none, sin, cos, none], dim=1))


def affine(pixels: Tensor, matrices: Tensor) -> Tensor:
    """Take each pixel from the nearest one to where a matrix says; what comes into view is black.

    Args:
        pixels: uint8 [n, h, w, c].
        matrices: float32 [n, 6]: the pixel at (x, y), counted from the image's centre to the right and down, comes from
            (a x + b y + c, d x + e y + f), for (a, b, c, d, e, f).

    Returns:
        uint8 [n, h, w, c].
    """
    count, height, width, channels = pixels.shape
    to_right, down = matrices.reshape(-1, 6, 1, 1).split(3, dim=1)
    x = torch.arange(width, device=pixels.device) - (width - 1) / 2
    y = torch.arange(height, device=pixels.device)[:, None] - (height - 1) / 2
    columns = _nearest(to_right, x, y, width)
    rows = _nearest(down, x, y, height)
    framed = F.pad(pixels, [0, 0, 1, 1, 1, 1])
    source = ((rows + 1) * (width + 2) + columns + 1).long()
    source += torch.arange(count, device=pixels.device)[:, None, None] * ((height + 2) * (width + 2))
    return framed.reshape(-1, channels).index_select(0, source.flatten()).view(count, height, width, channels)


def _nearest(row: Tensor, x: Tensor, y: Tensor, side: int) -> Tensor:
    """The row or column, in [-1, side], that is nearest to where a row of the matrix leads; -1 and side are outside.

    In between places are counted from -1 to 1, as torchvision does: what is midway between two pixels falls to the same
    one.
    """
    a, b, c = (row / (side / 2)).unbind(1)
    return ((x * a + y * b + c + 1) * (side / 2) - 0.5).round().clamp(-1, side)
