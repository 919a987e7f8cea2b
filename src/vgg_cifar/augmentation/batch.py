"""A batch of images, taken through one step after the other, each image by its own draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor, int], Tensor]
"""(pixels uint8 [n, h, w, c], the images' places int64 [n], epoch) -> pixels of the same shape."""


@dataclass(frozen=True)
class Steps:
    """One step after the other, with the channels last: a pixel's three bytes then move together.

    Attributes:
        steps: what is done, in this order.
    """

    steps: tuple[Step, ...]

    def __call__(self, images: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """Augment images.

        Args:
            images: uint8 [n, 3, 32, 32]; fastest if channels last in memory.
            indices: int64 [n], their places in the training set.
            epoch: with the seed of each step and an image's place it decides every draw.

        Returns:
            uint8 [n, 3, 32, 32], channels last in memory unless there are no steps.
        """
        pixels = images.permute(0, 2, 3, 1)
        for step in self.steps:
            pixels = step(pixels, indices, epoch)
        return pixels.permute(0, 3, 1, 2)


def only(chosen: Tensor, change: Callable[..., Tensor], rest: Tensor, *arguments: Tensor) -> Tensor:
    """Let a function make some rows of a tensor.

    On a CPU the function sees the chosen rows alone. Elsewhere it sees all of them, since to count the chosen ones the
    host would have to wait for the device.

    Args:
        chosen: bool [n].
        change: a function that makes each row from the same row of its arguments, whatever rows there are beside it.
        rest: [n, ...], the rows that are not chosen.
        arguments: each [n, ...], what the function is given.

    Returns:
        [n, ...]: `change(*arguments)` where chosen, `rest` elsewhere.
    """
    if rest.device.type != "cpu":
        return everywhere(chosen, change, rest, *arguments)
    rows = chosen.nonzero().flatten()
    if not len(rows):
        return rest
    changed = change(*(each.index_select(0, rows) for each in arguments))
    places = torch.arange(len(rest)).index_copy(0, rows, len(rest) + torch.arange(len(rows)))
    return torch.cat([rest, changed]).index_select(0, places)


def everywhere(chosen: Tensor, change: Callable[..., Tensor], rest: Tensor, *arguments: Tensor) -> Tensor:
    """The same as `only`, without a count of the chosen rows."""
    return torch.where(chosen.reshape(-1, *[1] * (rest.ndim - 1)), change(*arguments), rest)
