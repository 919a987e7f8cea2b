"""A 3x3 convolution that is faster than torch's where images are small and channels are many, on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vgg_cifar.minimal_filtering import minimal_filtering
from vgg_cifar.side_by_side import side_by_side


class Faster(NamedTuple):
    """A way to convolve images of one size in one arithmetic.

    Attributes:
        convolve: outputs of images, weight and bias, all with gradients.
        channels: in and out, from which on it is faster than torch's (`benchmarks/convolution.py`).
        images: of a batch, likewise.
    """

    convolve: Callable[[Tensor, Tensor, Tensor], Tensor]
    channels: int
    images: int = 1


def faster(instructions: str) -> dict[tuple[int, torch.dtype], Faster]:
    """The ways by the side of an image and the arithmetic, on a CPU with these instructions.

    Args:
        instructions: AMX, which multiplies bfloat16 so fast that what comes before and after costs more than elsewhere;
            AVX2, where alone float32 was measured beyond 2x2 pixels; or another word of torch's.
    """
    found = {
        (2, torch.bfloat16): Faster(minimal_filtering, 64),
        (4, torch.bfloat16): Faster(minimal_filtering, 128),
        (8, torch.bfloat16): Faster(side_by_side, 128) if instructions == "AMX" else Faster(minimal_filtering, 256),
        (2, torch.float32): Faster(minimal_filtering, 64, images=4),
    }
    if instructions == "AVX2":
        found |= {(side, torch.float32): Faster(minimal_filtering, 64, images=16) for side in (4, 8, 16)}
    return found


FASTER = faster("AMX" if torch.cpu._is_amx_tile_supported() else torch.backends.cpu.get_cpu_capability())


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with a 3x3 kernel and a border of one zero; weights and state-dict keys are the same.

    Outputs and gradients too, up to rounding, but on a CPU by another way where that is measured to be faster, and that
    refuses gradients of gradients.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs [n, out_channels, h, w] of images [n, in_channels, h, w]."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
        if images.device.type != "cpu" or images.ndim != 4 or images.shape[-2] != images.shape[-1]:
            return super().forward(images)
        way = FASTER.get((images.shape[-1], dtype))
        if way is None or len(images) < way.images or min(self.in_channels, self.out_channels) < way.channels:
            return super().forward(images)
        assert self.bias is not None
        return way.convolve(images.to(dtype), self.weight, self.bias)
