"""What happens to an image on its way: contrast lost, bent, enlarged from fewer pixels, compressed."""

from __future__ import annotations

import io
from functools import cache

import torch
from PIL import Image
from torch import Tensor

from vgg_cifar.evaluation.corruptions import fields, maps


def contrast(pixels: Tensor, _: Tensor, severity: int) -> Tensor:
    """Every channel is drawn towards its mean. As the authors'."""
    part = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return mean + part * (pixels - mean)


def elastic(pixels: Tensor, indices: Tensor, severity: int) -> Tensor:
    """A rubber sheet: bent as a whole by three of its points, and in waves.

    The waves are the authors', from long ones that hardly move anything to short ones. The bend has their strengths in
    the opposite order: theirs weakens as the waves grow, so that their severity 5 moves pixels the least. Both are one
    displacement here, interpolated once, and the bell curve is cut off at 4 sigma.
    """
    strength, sigma, corner = (
        (0.0, 1.0, 0.96),
        (1.6, 6.4, 1.6),
        (2.56, 1.92, 1.92),
        (3.2, 1.28, 2.24),
        (3.2, 0.96, 2.56),
    )[severity - 1]
    right, down = affine(indices, corner).unbind(1)
    shifts = fields.uniform(indices, (2, maps.SIDE, maps.SIDE), "elastic_transform")
    waves = strength * maps.both_ways(shifts, _bell(sigma, pixels.device))
    return maps.displaced(pixels, right + waves[:, 0], down + waves[:, 1], "reflection")


def affine(indices: Tensor, corner: float) -> Tensor:
    """Move three points, 10 pixels from the centre along both axes, and all others with them.

    Args:
        indices: int64 [n], the images' places.
        corner: by how many pixels at most each of the three is moved along each axis.

    Returns:
        float32 [n, 2, 32, 32], the displacement to the right and down.
    """
    one, two, three = (corner * fields.uniform(indices, (3, 2, 1, 1), "elastic_transform's corners")).unbind(1)
    place = (
        torch.arange(maps.SIDE, device=indices.device) - 6
    ) / 20  # 0 at the points' lower coordinate, 1 at the upper
    return two + place[:, None] * (one - two) + (1 - place) * (three - two)


@cache
def _bell(sigma: float, device: torch.device) -> Tensor:
    return maps.gaussian(sigma).to(device)


def pixelate(pixels: Tensor, _: Tensor, severity: int) -> Tensor:
    """An image of fewer pixels, enlarged.

    As the authors', but pixels of the smaller image that cover a part of one of the larger count that part of it.
    """
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]
    return maps.both_ways(pixels, _coarse(int(maps.SIDE * share), pixels.device))


@cache
def _coarse(count: int, device: torch.device) -> Tensor:
    return maps.boxes(count).to(device)


def jpeg(pixels: Tensor, _: Tensor, severity: int) -> Tensor:
    """Compressed and decompressed as JPEG, by Pillow on the CPU. As the authors'."""
    quality = (80, 65, 58, 50, 40)[severity - 1]
    levels = pixels.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()
    made = torch.empty_like(levels)
    for image, to in zip(levels.numpy(), made.numpy(), strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        to[:] = Image.open(file)
    return made.to(pixels.device).permute(0, 3, 1, 2).float().div_(255)
