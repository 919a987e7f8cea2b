"""A 3x3 convolution with a faster way over images of 2x2 pixels, which is what VGG's last block sees of 32x32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""The pixels of a 2x2 image: row and column."""


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with a 3x3 kernel and a border of one zero; weights and state-dict keys are the same.

    Each of four pixels sees all four through four of its nine taps, the other five see zeros of the border. Written out
    as one matrix from all pixels to all pixels, the same outputs and gradients take 16 products in place of 36, up to
    rounding. Only on a CPU, where it is measured to be faster (`benchmarks/convolution.py`).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs [n, out_channels, h, w] of images [n, in_channels, h, w]."""
        if images.shape[-2:] != (2, 2) or images.device.type != "cpu":
            return super().forward(images)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            weight = weight.to(torch.get_autocast_dtype("cpu"))  # before it becomes larger
        assert self.bias is not None
        pixels = images.permute(0, 2, 3, 1).flatten(1)
        outputs = F.linear(pixels, _Spread.apply(weight), self.bias.repeat(len(CORNERS)))
        square: Tensor = outputs.unflatten(1, (2, 2, self.out_channels))
        return square.permute(0, 3, 1, 2)


class _Spread(torch.autograd.Function):
    """Filters [o, i, 3, 3] as a matrix [4 o, 4 i] from all pixels of a 2x2 image to all of them."""

    @staticmethod
    def forward(_: Any, weight: Tensor) -> Tensor:
        """A row per output pixel and filter, a column per input pixel and channel."""
        taps = weight.permute(0, 2, 3, 1)
        return torch.cat([_seen(taps, *corner).flatten(1) for corner in CORNERS])

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """Sum, for each tap, over the pairs of pixels that it connects."""
        outputs, inputs = (side // len(CORNERS) for side in gradient.shape)
        taps = gradient.new_zeros(outputs, 3, 3, inputs)
        for corner, part in zip(CORNERS, gradient.view(len(CORNERS), outputs, 2, 2, inputs), strict=True):
            _seen(taps, *corner).add_(part)
        return taps.permute(0, 3, 1, 2)


def _seen(taps: Tensor, row: int, column: int) -> Tensor:
    """The taps [o, 2, 2, i], of [o, 3, 3, i], through which an output pixel sees the four input pixels."""
    return taps[:, 1 - row : 3 - row, 1 - column : 3 - column]
