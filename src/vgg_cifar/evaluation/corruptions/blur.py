"""Blurs of the lens, of frosted glass and of motion."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vgg_cifar import draws
from vgg_cifar.evaluation.corruptions import fields, maps


def defocus(pixels: Tensor, _: Tensor, severity: int) -> Tensor:
    """A lens out of focus: each pixel becomes a disk with soft edges; the image is mirrored at its edge.

    The authors' kernels, without OpenCV: at severities 1 to 3 the disk is one pixel and only its edges' softness grows.
    """
    radius, softness = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[severity - 1]
    return maps.everywhere(pixels, _disk(radius, softness, pixels.device))


@cache
def _disk(radius: float, softness: float, device: torch.device) -> Tensor:
    """float32 [1024, 1024] for `maps.everywhere`."""
    around = torch.arange(-2.0, 3)
    disk = (around**2 + around[:, None] ** 2 <= radius**2).float()
    bell = torch.exp(-(torch.arange(-1.0, 2) ** 2) / (2 * softness**2))
    kernel = F.conv2d(disk[None, None], torch.outer(bell, bell)[None, None], padding=1)
    every = torch.eye(maps.SIDE**2).view(-1, 1, maps.SIDE, maps.SIDE)
    spread = F.conv2d(F.pad(every, [2] * 4, mode="reflect"), kernel / kernel.sum())
    return spread.flatten(1).T.contiguous().to(device)


def glass(pixels: Tensor, indices: Tensor, severity: int) -> Tensor:
    """Frosted glass: soft, and with pixels out of place, but for those of the first two rows and columns.

    Severities 3 and 5 are the authors': every pixel is treated, once or twice. They exchange two pixels by a line of
    NumPy that in fact copies one over the other, and so does this: each becomes itself or its neighbour to the left,
    above, or both. At their other severities only the blur differs, which does nothing at 1 and 2, and at 4 leaves more
    to be seen of the displacement than at 5; here these treat a part of the pixels.
    """
    share, times = ((0.5, 1), (0.75, 1), (1, 1), (0.75, 2), (1, 2))[severity - 1]
    soft = _bell(0.4, pixels.device)
    place = torch.arange(maps.SIDE, device=pixels.device)
    inner = (place >= 2) & (place[:, None] >= 2)
    drawn = fields.levels(indices, (maps.SIDE, maps.SIDE), "glass_blur")
    moved = maps.both_ways(pixels, soft).flatten(2)
    for time in range(times):
        byte = drawn >> 8 * time
        treated = inner & ((byte >> 2 & 63) < 64 * share)
        source = place + place[:, None] * maps.SIDE - treated * ((byte & 1) + (byte >> 1 & 1) * maps.SIDE)
        moved = moved.gather(2, source.flatten(1)[:, None].expand(-1, 3, -1))
    return maps.both_ways(moved.view_as(pixels), soft)


@cache
def _bell(sigma: float, device: torch.device) -> Tensor:
    return maps.gaussian(sigma).to(device)


def motion(pixels: Tensor, indices: Tensor, severity: int) -> Tensor:
    """A camera that moves: a smear to one side, in a direction within 45 degrees of the horizontal.

    The authors' strengths and kernel, without ImageMagick: see `maps.streaked`. Only their severity 4 is the same as 3,
    since the bell curve is over long before their longer radius ends; here it lies between 3 and 5.
    """
    radius, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2.25), (9, 2.5))[severity - 1]
    degrees = 90 * draws.uniform(indices, "corruption", "motion_blur") - 45
    return maps.streaked(pixels, degrees, radius, sigma)


def zoom(pixels: Tensor, _: Tensor, severity: int) -> Tensor:
    """A camera that moves towards what it sees: the mean of the image and of its enlargements, in steps of 1%.

    The authors' factors. They cut out whole pixels before they enlarge, so that several factors give the same picture,
    a little off the centre; here each factor is itself, about the centre.
    """
    largest = (5, 10, 15, 20, 25)[severity - 1]
    return maps.everywhere(pixels, _zooms(largest, pixels.device))


@cache
def _zooms(largest: int, device: torch.device) -> Tensor:
    """float32 [1024, 1024] for `maps.everywhere`: the mean over the image and factors of 1.00 to 1.`largest`."""
    made = torch.eye(maps.SIDE**2)
    for percent in range(largest + 1):
        column = maps.zoom(1 + percent / 100)
        made += torch.kron(column, column)
    return (made / (largest + 2)).to(device)
