"""A ReLU for bfloat16 on a CPU that never turns its numbers into others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MINUS_INFINITY = -128
"""Its bits as an integer; those between it and zero are NaN."""


class ReLU(nn.ReLU):
    """`nn.ReLU(inplace=True)`, with equal outputs and, but where these are NaN, equal gradients.

    torch turns bfloat16 into float32 and back to compare it, which on a CPU takes longer than to read and write it. As
    integers of 16 bits the same bits compare the same way: those of negative numbers are negative
    (`benchmarks/relu.py`). That can be differentiated once, backward.
    """

    def __init__(self) -> None:
        super().__init__(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """The features, of any shape, with zeros in the place of negative ones; NaN stays NaN."""
        if features.device.type == "cpu" and features.dtype == torch.bfloat16:
            rectified: Tensor = _IntegerReLU.apply(features)
            return rectified
        return super().forward(features)


class _IntegerReLU(torch.autograd.Function):
    """Of bfloat16 features; its gradient reads the outputs alone, as that of torch's does."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        torch.threshold_(features.view(torch.int16), MINUS_INFINITY, 0)
        ctx.mark_dirty(features)
        ctx.save_for_backward(features)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (outputs,) = ctx.saved_tensors
        bits = torch.ops.aten.threshold_backward(gradient.view(torch.int16), outputs.view(torch.int16), 0)
        return bits.view(torch.bfloat16)  # type: ignore[no-any-return]
