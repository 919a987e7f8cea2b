"""A 3x3 convolution whose weight learns from images side by side, for a CPU that multiplies tiles of many pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

IN_A_ROW = 3
"""Images: of 8x8 pixels they make rows of 26, and a tile of AMX is 32 numbers wide in bfloat16."""


def side_by_side(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution, torch's but for the gradients of weight and bias.

    Those are sums over all pixels, and torch multiplies a row of an image at a time: of 8 pixels, it leaves most of a
    tile empty. Three images in a row, with a column of zeros between two, have the same sums. Once differentiable.

    Args:
        images: [n, i, h, w]. Their dtype is that of arithmetic and outputs.
        weight: [o, i, 3, 3].
        bias: [o].

    Returns:
        [n, o, h, w], channels last.
    """
    outputs: Tensor = _SideBySide.apply(images, weight, bias)
    return outputs


class _SideBySide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        filters = weight.to(images.dtype, memory_format=torch.channels_last)
        ctx.save_for_backward(images, filters)
        return nn.functional.conv2d(images, filters, bias.to(images.dtype), padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        images, filters = ctx.saved_tensors
        of_images, *of_others = ctx.needs_input_grad
        found = _gradients(gradient, images, filters, [of_images, False, False])
        if any(of_others):
            found = found[0], *_gradients(_in_rows(gradient), _in_rows(images), filters, [False, *of_others])[1:]
        return found


def _gradients(
    gradient: Tensor, images: Tensor, filters: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Those of images, filters and biases that are wanted; the others are None."""
    found: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
        gradient, images, filters, [len(filters)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
    )
    return found


def _in_rows(images: Tensor) -> Tensor:
    """Images [n, c, h, w] as [ceil(n / 3), c, h, 3w + 2], channels last: zeros between, and for missing ones."""
    count, channels, height, width = images.shape
    rows = images.new_zeros(-(-count // IN_A_ROW), height, IN_A_ROW * (width + 1) - 1, channels)
    for place, some in enumerate(images.permute(0, 2, 3, 1).split(len(rows))):
        begin = place * (width + 1)
        rows[: len(some), :, begin : begin + width].copy_(some)
    return rows.permute(0, 3, 1, 2)
