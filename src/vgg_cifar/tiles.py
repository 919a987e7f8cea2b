"""Images as the products of minimal filtering take them: linear maps of their pixels, tile by tile, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def band(window: Tensor, tile: int, side: int) -> Tensor:
    """One map for every tile in a row of pixels; windows that are wider than a tile overlap.

    Args:
        window: [products, width], from the pixels of a window to products.
        tile: its width; half of what the window has more is before it, and over zeros at the border.
        side: pixels in a row, a multiple of `tile`.

    Returns:
        [products, tiles, side], from pixels to products of each tile.
    """
    products, width = window.shape
    before = (width - tile) // 2
    found = window.new_zeros(products, side // tile, side + 2 * before)
    for place in range(side // tile):
        found[:, place, place * tile : place * tile + width] = window
    return found[..., before : before + side]


class AtOnce:
    """Rows and columns by one matrix: numbers are rounded once, which matters in bfloat16.

    Args:
        row: [products, tiles, pixels] for a row of a block, and for a column, of the images' dtype.
        blocks: in a row of an image, and in a column.
    """

    def __init__(self, row: Tensor, blocks: int = 1) -> None:
        self.products, _, self.block = row.shape
        self.blocks = blocks
        self.matrix = torch.einsum("atp,buq->abtupq", row, row).reshape(-1, self.block**2)

    def spread(self, images: Tensor) -> Tensor:
        """Images [n, c, side, side] to [products * products, tiles * n, c]."""
        count, channels = images.shape[:2]
        pixels = images.view(count, channels, self.blocks, self.block, self.blocks, self.block)
        pixels = pixels.permute(3, 5, 2, 4, 0, 1).reshape(self.block**2, -1)
        return (self.matrix @ pixels).view(self.products**2, -1, channels)

    def gather(self, spread: Tensor, count: int) -> Tensor:
        """The transpose: [products * products, tiles * n, c] to n new images [n, c, side, side], channels last."""
        channels, side = spread.shape[-1], self.blocks * self.block
        pixels = self.matrix.T @ spread.view(len(self.matrix), -1)
        pixels = pixels.view(self.block, self.block, self.blocks, self.blocks, count, channels)
        pixels = pixels.permute(4, 2, 0, 3, 1, 5)
        # Not a view of the pixels: what follows may change it in place.
        images = spread.new_empty(count, channels, side, side).contiguous(memory_format=torch.channels_last)
        images.permute(0, 2, 3, 1).view(pixels.shape).copy_(pixels)
        return images


class RowsThenColumns:
    """By one matrix for rows and once more for columns: less work than at once, where an image has many tiles.

    Args:
        row: [products, tiles, pixels] for a row of an image, and for a column, of the images' dtype.
    """

    def __init__(self, row: Tensor) -> None:
        self.products, _, self.side = row.shape
        self.matrix = row.reshape(-1, self.side)

    def spread(self, images: Tensor) -> Tensor:
        """Images [n, c, side, side] to [products * products, tiles * n, c]."""
        channels = images.shape[1]
        columns = self.matrix @ images.permute(3, 2, 0, 1).reshape(self.side, self.side, -1)
        columns = columns.view(self.side, self.products, -1).transpose(0, 1)
        return (self.matrix @ columns).view(self.products**2, -1, channels)

    def gather(self, spread: Tensor, count: int) -> Tensor:
        """The transpose: [products * products, tiles * n, c] to n new images [n, c, side, side], channels last."""
        channels, length = spread.shape[-1], len(self.matrix)
        columns = self.matrix.T @ spread.view(self.products, length, -1)
        pixels = self.matrix.T @ columns.transpose(0, 1).reshape(self.side, length, -1)
        pixels = pixels.view(self.side, self.side, count, channels).permute(2, 3, 1, 0)
        return pixels.clone(memory_format=torch.channels_last)


Transform = AtOnce | RowsThenColumns
