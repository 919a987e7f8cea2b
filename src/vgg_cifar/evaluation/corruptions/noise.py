"""Noise of the sensor and of the wire; red, green and blue have grains of their own."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from vgg_cifar.evaluation.corruptions import fields

_VALUES = (3, 32, 32)
_SHARES = 1 << 14
"""How finely the distributions of shot noise are tabulated."""


def gaussian(pixels: Tensor, indices: Tensor, severity: int) -> Tensor:
    """Noise of low light: a bell curve of the same width for all values. As the authors' but for the generator."""
    sigma = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return pixels + sigma * fields.normal(indices, _VALUES, "gaussian_noise")


def shot(pixels: Tensor, indices: Tensor, severity: int) -> Tensor:
    """Noise of counted photons: white is `photons` of them on average, and counts follow Poisson's distribution.

    As the authors' but for the generator: by inversion of tabulated distributions, so in steps of 1/16384.
    """
    photons = (500, 250, 100, 75, 50)[severity - 1]
    values = pixels.mul(255).round_().long()
    share = fields.levels(indices, _VALUES, "shot_noise") // (fields.LEVELS // _SHARES)
    return _photons(photons, pixels.device).take(values * _SHARES + share).float().div_(255)


@cache
def _photons(white: int, device: torch.device) -> Tensor:
    """uint8 [256, shares]: for each value a pixel has, what is counted instead of it, from the least to the most."""
    expected = torch.arange(256, dtype=torch.float64)[:, None] * white / 255
    counts = torch.arange(2 * white, dtype=torch.float64)
    chance = (torch.xlogy(counts, expected) - expected - torch.lgamma(counts + 1)).exp()
    below = (chance.cumsum(1) * _SHARES).round().long().clamp_max(_SHARES)  # the share from which on there are more
    steps = torch.zeros(256, _SHARES + 1, dtype=torch.int64)
    steps.scatter_add_(1, below, torch.ones_like(below))
    levels = steps[:, :-1].cumsum(1) * 255 / white
    return levels.round().clamp_max(255).to(torch.uint8).to(device)


def impulse(pixels: Tensor, indices: Tensor, severity: int) -> Tensor:
    """Broken bits: a share of the values becomes 0 or 1, as often the one as the other. As the authors'."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    drawn = fields.levels(indices, _VALUES, "impulse_noise")
    few = round(share / 2 * fields.LEVELS)
    return pixels.masked_fill(drawn < few, 0).masked_fill_(drawn >= fields.LEVELS - few, 1)
