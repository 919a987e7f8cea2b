"""Frost on a window, drawn: needles of ice that cross each other, dense in some places and thin in others."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from vgg_cifar import draws

_PANES, _SIDE = 5, 192


@cache
def panes(device: torch.device) -> Tensor:
    """float32 [5, 3, 192, 192] in [0, 1]: five panes, each of which goes on at its opposite edge."""
    generator = torch.Generator().manual_seed(draws.key("corruption", "panes of ice"))
    return torch.stack([_pane(generator) for _ in range(_PANES)]).to(device)


def _pane(generator: torch.Generator) -> Tensor:
    """float32 [3, side, side]: the brightest of several layers of needles, over a haze."""
    first = float(torch.rand((), generator=generator)) * 180
    needles = torch.stack([_needles(first + turn, generator) for turn in (0, 30, 60, 90, 120, 150)])
    dense = _ranked(_smoothed(12, 12, 0, generator))
    ice = needles.amax(0) * (0.5 + 0.5 * dense)
    haze = _ranked(_smoothed(5, 5, 0, generator))
    white = (0.12 + 0.88 * ice + 0.15 * (haze - 0.5)).clamp(0, 1)
    blue = torch.tensor([0.8, 0.93, 1.0])[:, None, None]
    return white * (blue + (1 - blue) * white)  # thick ice is white


def _needles(degrees: float, generator: torch.Generator) -> Tensor:
    """[side, side] in [0, 1]: bright, thin, long lines of one direction, the brightest the rarest."""
    return _ranked(_smoothed(9, 0.7, degrees, generator)) ** 6


def _smoothed(long: float, short: float, degrees: float, generator: torch.Generator) -> Tensor:
    """[side, side]: noise, blurred by a bell curve `long` pixels wide in one direction and `short` across."""
    noise = torch.randn(_SIDE, _SIDE, generator=generator)
    down, right = torch.fft.fftfreq(_SIDE)[:, None], torch.fft.rfftfreq(_SIDE)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along, across = right * cos + down * sin, down * cos - right * sin
    passed = torch.exp(-2 * math.pi**2 * ((along * long) ** 2 + (across * short) ** 2))
    smooth: Tensor = torch.fft.irfft2(torch.fft.rfft2(noise) * passed, s=(_SIDE, _SIDE))
    return smooth


def _ranked(heights: Tensor) -> Tensor:
    """The share of all values that lie below each one."""
    ranks = heights.flatten().argsort().argsort()
    return (ranks / len(ranks)).view_as(heights)
