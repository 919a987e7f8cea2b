"""Test-time augmentation: the same image seen in several ways, whose answers are then averaged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class View:
    """One way to see an image; without draws, and for each image by itself.

    Attributes:
        down: by how many pixels the image is moved down, or up if below 0; what comes into view is the image mirrored
            at its edge, the edge's pixels not repeated.
        right: the same to the right.
        mirrored: whether left and right are exchanged.
    """

    down: int = 0
    right: int = 0
    mirrored: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Look at uint8 [n, 3, h, w] on any device, with sides longer than the shift: the same shape and dtype."""
        height, width = images.shape[2:]
        if self.down:
            images = images.index_select(2, _moved(height, self.down, images.device))
        if self.right:
            images = images.index_select(3, _moved(width, self.right, images.device))
        return images.flip(3) if self.mirrored else images


def _moved(side: int, shift: int, device: torch.device) -> Tensor:
    """Which row or column stands at each place after the shift: int64 [side]."""
    last = side - 1
    return last - (last - (torch.arange(side, device=device) - shift).abs()).abs()


def _and_mirrored(*views: View) -> tuple[View, ...]:
    return tuple(View(view.down, view.right, mirrored) for view in views for mirrored in (False, True))


VIEWS: dict[str, tuple[View, ...]] = {
    "none": (View(),),
    "flip": _and_mirrored(View()),
    "multicrop": _and_mirrored(View(), View(-1, -1), View(-1, 1), View(1, -1), View(1, 1)),
}
"""The views of each choice; the first is the image itself.

The ten of "multicrop" are the centre, the four corners and their mirror images of A. Krizhevsky, I. Sutskever and G. E.
Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012. There they are windows of a larger
photograph; CIFAR's images have nothing around them, so they are windows of the image with a reflected border of one
pixel, as in K. Jordan's airbench (2024), which takes two of the four corners.
"""
