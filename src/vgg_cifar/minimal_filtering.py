"""A 3x3 convolution with fewer products, for small images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vgg_cifar.tiles import AtOnce, RowsThenColumns, Transform, band

POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 1.0, -1.0, 2.0, -0.5)}
"""By the outputs of a tile in a row, infinity beside. With -2 in the place of -1/2 errors are half as large again."""
SIDES = {torch.bfloat16: (2, 4, 8), torch.float32: (2, 4, 8, 16), torch.float64: (2, 4, 8, 16)}
"""Of images, in pixels."""


def minimal_filtering(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution by the algorithm of Winograd (1980) as Lavin & Gray (2015) apply it to networks.

    Two neighbours in a row of outputs see four pixels d through three taps g. They are m0 + m1 + m2 and m1 - m2 + m3,
    four products in place of six: m0 = (d0 - d2) g0, m1 = (d1 + d2) (g0 + g1 + g2) / 2, m3 = (d3 - d1) g2 and
    m2 = (d2 - d1) (g0 - g1 + g2) / 2. In rows and columns at once a tile of 2x2 outputs takes 16 in place of 36. If the
    tile is the whole image, d0 = d3 = 0, and three do: (d1 - d2) g1, d2 (g1 + g2) and d1 (g0 + g1); the tile takes 9.

    In bfloat16 the sums are rounded; the tests hold the error under 3.5 times that of torch's convolution. Float32
    bears larger sums: four neighbours take 6 products in place of 12, and a tile of 4x4 outputs 36 in place of 144,
    with an error under 8 times that of torch's.

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
        algorithm = _ALGORITHMS[side, images.dtype]
        pixels = algorithm.data.spread(images)
        filters = weight.to(images.dtype).permute(2, 3, 0, 1).reshape(9, -1)
        filters = (algorithm.taps.to(images.dtype) @ filters).view(len(pixels), -1, inputs)
        ctx.save_for_backward(pixels, filters)
        ctx.algorithm, ctx.dtypes = algorithm, (weight.dtype, bias.dtype)
        return algorithm.outputs.gather(pixels @ filters.mT, count).add_(bias.to(images.dtype)[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every step of the forward pass transposed, from the last to the first."""
        pixels, filters = ctx.saved_tensors
        count, outputs, _, _ = gradient.shape
        products = ctx.algorithm.outputs.spread(gradient)
        weight = ctx.algorithm.taps.to(gradient.dtype).T @ (products.mT @ pixels).flatten(1)
        weight = weight.view(3, 3, outputs, -1).permute(2, 3, 0, 1)
        return (
            ctx.algorithm.data.gather(products @ filters, count),
            weight.to(ctx.dtypes[0], memory_format=torch.channels_last),
            gradient.sum((0, 2, 3)).to(ctx.dtypes[1]),
        )


class _Algorithm(NamedTuple):
    """Lavin & Gray's B', G and the transpose of A', for rows and columns."""

    data: Transform
    """From images to what each product of each tile takes of them."""
    taps: Tensor
    """[products, 9]: from a filter to what each product takes of it."""
    outputs: Transform
    """Its transpose is from the products of a tile to its outputs."""

    @classmethod
    def of(cls, side: int, dtype: torch.dtype) -> _Algorithm:
        """That of square images with one of `SIDES`, without the zeros of their border."""
        if side == 2:
            data, taps, outputs = _WHOLE
        else:
            data, taps, outputs = _toom_cook(POINTS[2 if dtype == torch.bfloat16 else 4])
        tile = outputs.shape[1]
        taps = torch.kron(taps, taps)
        if tile == 2:
            return cls(AtOnce(band(data, 2, side)), taps, AtOnce(band(outputs, 2, 2), side // 2))
        return cls(RowsThenColumns(band(data, tile, side)), taps, RowsThenColumns(band(outputs, tile, side)))


_WHOLE = (
    torch.tensor([[1.0, -1], [0, 1], [1, 0]]),
    torch.tensor([[0.0, 1, 0], [0, 1, 1], [1, 1, 0]]),
    torch.tensor([[1.0, -1], [1, 0], [0, 1]]),
)
"""For images of 2x2 pixels, with three products, as `_toom_cook`."""


def _toom_cook(points: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The transpose of polynomials multiplied by way of their values at these points, and at infinity.

    Returns:
        What each product takes of as many pixels as there are products [products, products], of three taps
        [products, 3] and, in the gradient's way back, of outputs [products, products - 2]; all float64.
    """
    others = [[each for each in points if each != point] for point in points]
    shares = [prod(point - each for each in rest) for point, rest in zip(points, others, strict=True)]
    data = [[*_coefficients(rest), 0.0] for rest in others]
    taps = [[point**power / share for power in range(3)] for point, share in zip(points, shares, strict=True)]
    outputs = [[point**power for power in range(len(points) - 1)] for point in points]
    data, taps = [*data, _coefficients(points)], [*taps, [0.0, 0.0, 1.0]]
    outputs = [*outputs, [0.0] * (len(points) - 2) + [1.0]]
    return _float64(data), _float64(taps), _float64(outputs)


_float64 = partial(torch.tensor, dtype=torch.float64)


def _coefficients(roots: Sequence[float]) -> list[float]:
    """Of the polynomial with these roots, from the constant to the highest power, whose own is 1."""
    found = [1.0]
    for root in roots:
        found = [low - root * high for low, high in zip([0.0, *found], [*found, 0.0], strict=True)]
    return found


_ALGORITHMS = {(side, dtype): _Algorithm.of(side, dtype) for dtype, sides in SIDES.items() for side in sides}
