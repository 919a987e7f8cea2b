"""A 3x3 convolution with fewer products, for small images."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vgg_cifar.tiles import AtOnce, RowsThenColumns, Transform, band

SIDES = {torch.bfloat16: (2, 4, 8), torch.float32: (2, 4, 8, 16), torch.float64: (2, 4, 8, 16)}
"""Of images in an arithmetic, in pixels."""
POINTS = {torch.bfloat16: (0.0, 1.0, -1.0), torch.float32: (0.0, 1.0, -1.0, 2.0, -0.5)}
"""Where polynomials are evaluated, and at infinity. With -2 in the place of -1/2 errors are half as large again."""


def minimal_filtering(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution by the algorithm of Winograd (1980) as Lavin & Gray (2015) apply it to networks.

    Two neighbours in a row of outputs see four pixels d through three taps g. They are m0 + m1 + m2 and m1 - m2 + m3,
    four products in place of six: m0 = (d0 - d2) g0, m1 = (d1 + d2) (g0 + g1 + g2) / 2, m3 = (d3 - d1) g2 and
    m2 = (d2 - d1) (g0 - g1 + g2) / 2. In rows and columns at once a tile of 2x2 outputs takes 16 in place of 36. If the
    tile is the whole image, d0 = d3 = 0, and three do: (d1 - d2) g1, d2 (g1 + g2) and d1 (g0 + g1); the tile takes 9.

    In bfloat16 the sums are rounded; the tests hold the error under 3.5 times that of torch's convolution. Float32
    bears larger sums: four neighbours take 6 products in place of 12, and a tile of 4x4 outputs 36 in place of 144,
    with an error under 2 millionths of the outputs, and 4 of the gradients.

    Args:
        images: [n, i, side, side], with one of the `SIDES` of their dtype, which is that of arithmetic and outputs.
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
        filters = (algorithm.taps @ filters).view(len(pixels), -1, inputs)
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
        weight = ctx.algorithm.taps.T @ (products.mT @ pixels).flatten(1)
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
        points = POINTS.get(dtype, POINTS[torch.float32])
        data, taps, outputs = (each.to(dtype) for each in (_WHOLE if side == 2 else _toom_cook(points)))
        tile = outputs.shape[1]
        taps = torch.kron(taps, taps)
        if tile == 2:
            return cls(AtOnce(band(data, tile, side)), taps, AtOnce(band(outputs, tile, tile), side // tile))
        return cls(RowsThenColumns(band(data, tile, side)), taps, RowsThenColumns(band(outputs, tile, side)))


def _toom_cook(points: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The transpose of two polynomials multiplied by way of their values, for a row of a tile.

    Returns:
        What each product takes of as many pixels as there are products [products, products], of three taps
        [products, 3] and, on the way back, of outputs [products, products - 2]; all float64.
    """
    count = len(points) + 1
    return _values(points, count).inverse().T, _values(points, 3), _values(points, count - 2)


def _values(points: tuple[float, ...], coefficients: int) -> Tensor:
    """[points + 1, coefficients], from those of a polynomial to its values, the last at infinity."""
    rows = [[point**power for power in range(coefficients)] for point in points]
    return torch.tensor([*rows, [0.0] * (coefficients - 1) + [1.0]], dtype=torch.float64)


_WHOLE = (
    torch.tensor([[1.0, -1], [0, 1], [1, 0]]),
    torch.tensor([[0.0, 1, 0], [0, 1, 1], [1, 1, 0]]),
    torch.tensor([[1.0, -1], [1, 0], [0, 1]]),
)
"""As `_toom_cook`, with three products for images of 2x2 pixels."""
_ALGORITHMS = {(side, dtype): _Algorithm.of(side, dtype) for dtype, sides in SIDES.items() for side in sides}
