"""A 3x3 convolution with fewer products, for small images."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SIDES = (2, 4, 8)
"""Of images, in pixels."""


def minimal_filtering(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution by the algorithm of Winograd (1980) as Lavin & Gray (2015) apply it to networks.

    Two neighbours in a row of outputs see four pixels d through three taps g. They are m0 + m1 + m2 and m1 - m2 - m3,
    four products in place of six: m0 = (d0 - d2) g0, m1 = (d1 + d2) (g0 + g1 + g2) / 2, m3 = (d1 - d3) g2 and
    m2 = (d2 - d1) (g0 - g1 + g2) / 2. In rows and columns at once a tile of 2x2 outputs takes 16 in place of 36. If the
    tile is the whole image, d0 = d3 = 0, and three do: (d1 - d2) g1, d2 (g1 + g2) and d1 (g0 + g1); the tile takes 9.

    In bfloat16 the sums are rounded; the tests hold the error under 3.5 times that of torch's convolution.

    Args:
        images: [n, i, side, side], with one of `SIDES`. Their dtype is that of arithmetic and outputs.
        weight: [o, i, 3, 3].
        bias: [o].

    Returns:
        [n, o, side, side], channels last.
    """
    outputs: Tensor = _MinimalFiltering.apply(images, weight, bias)
    return outputs


class _MinimalFiltering(torch.autograd.Function):
    """From images [n, i, side, side] to outputs [n, o, side, side]; each product is a matrix product over channels."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        count, inputs, side, _ = images.shape
        data, taps, inverse = (each.to(images.dtype) for each in _TRANSFORMS[side])
        pixels = data @ images.permute(2, 3, 0, 1).reshape(side * side, count * inputs)
        pixels = pixels.view(len(taps), -1, inputs)
        filters = taps @ weight.to(images.dtype).permute(2, 3, 0, 1).reshape(9, -1)
        filters = filters.view(len(taps), -1, inputs)
        ctx.save_for_backward(pixels, filters)
        ctx.dtypes = weight.dtype, bias.dtype
        tiles = inverse @ (pixels @ filters.mT).flatten(1)
        tiles = tiles.view(2, 2, side // 2, side // 2, count, len(weight)).permute(4, 2, 0, 3, 1, 5)
        # Not a view of the tiles: what follows may change it in place.
        outputs = tiles.new_empty(count, len(weight), side, side).contiguous(memory_format=torch.channels_last)
        outputs.permute(0, 2, 3, 1).view(tiles.shape).copy_(tiles)
        return outputs.add_(bias.to(images.dtype)[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every step of the forward pass transposed, from the last to the first."""
        pixels, filters = ctx.saved_tensors
        count, outputs, side, _ = gradient.shape
        data, taps, inverse = (each.to(gradient.dtype) for each in _TRANSFORMS[side])
        tiles = gradient.view(count, outputs, side // 2, 2, side // 2, 2).permute(3, 5, 2, 4, 0, 1).reshape(4, -1)
        products = (inverse.T @ tiles).view(len(taps), -1, outputs)
        images = data.T @ (products @ filters).view(len(data), -1)
        images = images.view(side, side, count, pixels.shape[-1]).permute(2, 3, 0, 1)
        weight = (taps.T @ (products.mT @ pixels).flatten(1)).view(3, 3, outputs, -1).permute(2, 3, 0, 1)
        return (
            images.contiguous(memory_format=torch.channels_last),
            weight.to(ctx.dtypes[0], memory_format=torch.channels_last),
            gradient.sum((0, 2, 3)).to(ctx.dtypes[1]),
        )


class _Transforms(NamedTuple):
    """Lavin & Gray's B', G and A', for rows and columns at once."""

    data: Tensor
    """[products * tiles, side * side]: from an image to what each product of each tile takes of it."""
    taps: Tensor
    """[products, 9]: from a filter to what each product takes of it."""
    inverse: Tensor
    """[4, products]: from the products of a tile to its outputs."""

    @classmethod
    def of(cls, side: int) -> _Transforms:
        """Those of square images with an even side, without the zeros of their border."""
        if side == 2:
            data = torch.tensor([[[1.0, -1]], [[0, 1]], [[1, 0]]])
            taps = torch.tensor([[0.0, 1, 0], [0, 1, 1], [1, 1, 0]])
            inverse = torch.tensor([[1.0, 1, 0], [-1, 0, 1]])
        else:
            window = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
            data = torch.zeros(4, side // 2, side + 2)
            for tile in range(side // 2):
                data[:, tile, 2 * tile : 2 * tile + 4] = window
            data = data[:, :, 1:-1]
            taps = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
            inverse = torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, -1]])
        data = torch.einsum("atp,buq->abtupq", data, data).reshape(-1, side * side)
        return cls(data, torch.kron(taps, taps), torch.kron(inverse, inverse))


_TRANSFORMS = {side: _Transforms.of(side) for side in SIDES}
