"""Linear maps of an image of 32 x 32 pixels: blurs, zooms, displacements."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

SIDE = 32


def gaussian(sigma: float) -> Tensor:
    """float32 [32, 32]: blurs a column by a bell curve, cut off at 4 sigma; beyond the edge lies the edge's pixel."""
    reach = int(4 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    place = torch.arange(SIDE)[:, None].expand(-1, len(offsets))
    made = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    made.index_put_((place, (place + offsets).clamp(0, SIDE - 1)), weights.expand(SIDE, -1), accumulate=True)
    return (made / weights.sum()).float()


def zoom(factor: float) -> Tensor:
    """float32 [32, 32]: enlarges a column about its centre by a factor of at least 1, interpolating linearly."""
    centre = (SIDE - 1) / 2
    source = centre + (torch.arange(SIDE, dtype=torch.float64) - centre) / factor
    distance = (source[:, None] - torch.arange(SIDE)).abs()
    return (1 - distance).clamp_min(0).float()


def boxes(count: int) -> Tensor:
    """float32 [32, 32]: averages a column over `count` equal stretches, and gives each pixel the one it is in."""
    edges = torch.arange(count + 1, dtype=torch.float64) * SIDE / count
    pixel = torch.arange(SIDE, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], pixel + 1) - torch.maximum(edges[:-1, None], pixel)
    averages = covered.clamp_min(0) * count / SIDE
    nearest = ((pixel + 0.5) * count / SIDE).long()
    return averages[nearest].float()


def both_ways(images: Tensor, column: Tensor) -> Tensor:
    """Apply a map of columns to the columns and to the rows of float32 [..., 32, 32]."""
    return column @ images @ column.T


def everywhere(pixels: Tensor, matrix: Tensor) -> Tensor:
    """Apply a map of whole images, float32 [1024, 1024], to each channel of float32 [n, c, 32, 32]."""
    return (pixels.flatten(2) @ matrix.T).view_as(pixels)


def displaced(images: Tensor, right: Tensor, down: Tensor, beyond: str) -> Tensor:
    """Take each pixel from elsewhere, interpolating between the four nearest ones.

    Args:
        images: float32 [n, c, 32, 32].
        right: float32, broadcasts to [n, 32, 32]: how many pixels further right it comes from.
        down: the same, further down.
        beyond: what lies beyond the edge: "border", the edge's pixel, or "reflection", the mirrored image.

    Returns:
        float32 [n, c, 32, 32].
    """
    place = torch.arange(SIDE, device=images.device, dtype=torch.float32)
    x, y = torch.broadcast_tensors(place + right, place[:, None] + down)
    grid = torch.stack([x, y], dim=-1).mul_(2 / (SIDE - 1)).sub_(1).expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=beyond, align_corners=True)


def streaked(images: Tensor, degrees: Tensor, radius: int, sigma: float) -> Tensor:
    """Blur by a motion: each pixel is smeared to one side, by half of a bell curve that is cut off at 2 x `radius`.

    That is ImageMagick's kernel, but between pixels this interpolates, where ImageMagick takes the nearest one; what is
    beyond 3 sigma is left out.

    Args:
        images: float32 [n, c, 32, 32]; beyond the edge lies the edge's pixel.
        degrees: float32 [n], the motion's direction, clockwise from the right.
        radius: pixels.
        sigma: of the bell curve, in pixels.

    Returns:
        float32 [n, c, 32, 32].
    """
    taps = min(2 * radius, math.ceil(3 * sigma)) + 1
    weights = [math.exp(-(tap**2) / (2 * sigma**2)) for tap in range(taps)]
    radians = degrees[:, None, None] * (math.pi / 180)
    right, down = radians.cos(), radians.sin()
    blurred = images * weights[0]
    for tap in range(1, taps):
        blurred.add_(displaced(images, tap * right, tap * down, "border"), alpha=weights[tap])
    return blurred.div_(sum(weights))
