"""Changing colours: every tone by a table of its own for each image and channel, saturation and sharpness by blends.

All results are those of `torchvision.transforms.functional` on uint8 tensors, bit for bit: float32 operations come in
the same order and are cut off, not rounded, at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor


def through(pixels: Tensor, tables: Tensor) -> Tensor:
    """Replace every value by what stands at its place in a table.

    Args:
        pixels: uint8 [n, h, w, c].
        tables: uint8 [n, 256, c].

    Returns:
        uint8 [n, h, w, c].
    """
    return tables.gather(1, pixels.flatten(1, 2).long()).view_as(pixels)


def blend(first: Tensor, second: Tensor, factors: Tensor) -> Tensor:
    """Two images mixed, or one carried away from the other.

    Args:
        first: uint8 or float32, [n, ...] or anything that broadcasts to it.
        second: the same.
        factors: float32 [n, 2], the parts of the first and of the second, which add up to 1; a part may be below 0.

    Returns:
        uint8 [n, ...], cut off to whole numbers in [0, 255].
    """
    one, other = factors.reshape(-1, 2, *[1] * (max(first.ndim, second.ndim) - 1)).unbind(1)
    return (first * one + second * other).clamp(0, 255).to(torch.uint8)


def grey(pixels: Tensor) -> Tensor:
    """The brightness that each pixel of uint8 [n, h, w, 3] appears to have: uint8 [n, h, w, 1]."""
    red, green, blue = pixels.unbind(-1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(torch.uint8)[..., None]


def saturate(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend uint8 [n, h, w, 3] with its grey image; `factors` as in `blend`."""
    return blend(pixels, grey(pixels), factors)


def sharpen(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend uint8 [n, h, w, c] with its smoothed image; `factors` as in `blend`.

    Smooth is the mean of a pixel, counted five times, and its eight neighbours, rounded; at the border the pixel as is.
    """
    wide = pixels.to(torch.int16)
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    sums = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * wide[:, 1:-1, 1:-1]
    smooth = pixels.clone(memory_format=torch.contiguous_format)
    smooth[:, 1:-1, 1:-1] = (sums / 13).round().to(torch.uint8)
    return blend(pixels, smooth, factors)


def ramp(device: torch.device) -> Tensor:
    """Every value a channel can have: uint8 [256]."""
    return torch.arange(256, dtype=torch.uint8, device=device)


def contrast_tables(pixels: Tensor, factors: Tensor) -> Tensor:
    """Tables, uint8 [n, 256, 3], that blend each image with the mean of its grey image; `factors` as in `blend`."""
    mean = grey(pixels).float().mean(dim=(1, 2))
    return blend(ramp(pixels.device), mean, factors)[:, :, None].expand(-1, -1, 3)


def autocontrast_tables(pixels: Tensor) -> Tensor:
    """Tables, uint8 [n, 256, c], that stretch each channel to [0, 255]; one with a single value stays as it is."""
    low, high = (bound[:, None].float() for bound in pixels.flatten(1, 2).aminmax(dim=1))
    flat = low == high
    scale = torch.where(flat, 1, 255 / (high - low))
    stretched = (ramp(pixels.device)[:, None] - torch.where(flat, 0, low)) * scale
    return stretched.clamp(0, 255).to(torch.uint8)


def equalize_tables(pixels: Tensor) -> Tensor:
    """Tables, uint8 [n, 256, c], that spread the tones of each channel so that all are about equally frequent.

    Pixels of the brightest tone there is are not counted; where fewer than 255 are left, a channel stays as it is.
    """
    values = pixels.flatten(1, 2).long()
    count, number, channels = values.shape
    histogram = torch.zeros(count, 256, channels, dtype=torch.int32, device=pixels.device)
    histogram.scatter_add_(1, values, torch.ones_like(values, dtype=torch.int32))
    brightest = histogram.gather(1, values.amax(dim=1, keepdim=True))
    step = (number - brightest) // 255
    darker = histogram.cumsum(1, dtype=torch.int32) - histogram
    shared = (darker + step // 2) // step.clamp(min=1)
    return torch.where(step == 0, ramp(pixels.device)[:, None], shared.clamp(0, 255)).to(torch.uint8)
