"""Draws for every pixel of an image: fields, made of `draws.bits`, so of nothing but an image's place and a purpose."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from vgg_cifar import draws

LEVELS = 1 << 16
"""How many different values a draw for a pixel has: far more than a pixel itself, and two fit into one hash."""


def levels(indices: Tensor, shape: tuple[int, ...], purpose: str) -> Tensor:
    """int64 [n, *shape], evenly in [0, `LEVELS`); `indices` times half of the shape's size has to stay below 2**32."""
    size = math.prod(shape)
    half = (size + 1) // 2
    numbers = indices[:, None] * half + torch.arange(half, device=indices.device)
    words = draws.bits(numbers, "corruption", purpose)
    return torch.cat([words & LEVELS - 1, words >> 16], dim=1)[:, :size].reshape(-1, *shape)


def uniform(indices: Tensor, shape: tuple[int, ...], purpose: str) -> Tensor:
    """float32 [n, *shape] in (-1, 1), evenly."""
    return levels(indices, shape, purpose).float().add_(0.5).div_(LEVELS / 2).sub_(1)


def normal(indices: Tensor, shape: tuple[int, ...], purpose: str) -> Tensor:
    """float32 [n, *shape] with mean 0 and deviation 1, by inversion of the tabulated distribution, up to 4.3."""
    return _quantiles(indices.device).take(levels(indices, shape, purpose))


@cache
def _quantiles(device: torch.device) -> Tensor:
    shares = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    quantiles: Tensor = torch.special.ndtri(shares)
    return quantiles.float().to(device)
