"""A 3x3 convolution that is faster than torch's where images are small and channels are many, on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vgg_cifar.minimal_filtering import minimal_filtering
from vgg_cifar.side_by_side import side_by_side


class Faster(NamedTuple):
    """A way to convolve images of one size.

    Attributes:
        convolve: outputs of images, weight and bias, all with gradients.
        channels: in and out, from which on it is faster than torch's (`benchmarks/convolution.py`).
    """

    convolve: Callable[[Tensor, Tensor, Tensor], Tensor]
    channels: int


def faster(*, amx: bool) -> dict[int, Faster]:
    """The way by the side of an image, in bfloat16; that of 2x2 pixels is for any arithmetic.

    Of 4x4 and 8x8 pixels Intel's AMX multiplies fast, and what comes before and after costs more than elsewhere.
    """
    by_side = {2: Faster(minimal_filtering, 64), 4: Faster(minimal_filtering, 128)}
    return by_side | {8: Faster(side_by_side, 128) if amx else Faster(minimal_filtering, 256)}


FASTER = faster(amx=torch.cpu._is_amx_tile_supported())


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
        height, width = images.shape[-2:]
        if not (
            images.device.type == "cpu"
            and images.ndim == 4
            and height == width in FASTER
            and min(self.in_channels, self.out_channels) >= FASTER[width].channels
            and (width == 2 or dtype == torch.bfloat16)
        ):
            return super().forward(images)
        assert self.bias is not None
        return FASTER[width].convolve(images.to(dtype), self.weight, self.bias)
