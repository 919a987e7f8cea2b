"""Images that cost nothing to get and something to learn.

A class is a texture, not a picture: a superclass fixes the direction and the wavelength of a wave, and each of its five
classes the colours between which that wave swings. Position, sign, contrast, background, tilt and noise are drawn anew
for each image, so the mean of a class is flat grey and no template of pixels tells the classes apart, while a
convolutional network can. See `tests/data/test_synthetic.py` for what that is worth in figures.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vgg_cifar import draws
from vgg_cifar.data.dataset import Dataset, Split

_DIRECTIONS = {"level": 0.0, "flat": 22.5, "oblique": 45.0, "steep": 67.5, "upright": 90.0}  # degrees
_WAVELENGTHS = {"fine": 3.0, "close": 4.5, "wide": 7.0, "broad": 11.0}  # pixels
_COLOURS = {  # the direction in RGB in which the wave swings
    "grey": (1.0, 1.0, 1.0),
    "red-cyan": (1.0, -1.0, -1.0),
    "green-magenta": (-1.0, 1.0, -1.0),
    "blue-yellow": (-1.0, -1.0, 1.0),
    "red-blue": (1.2, 0.0, -1.2),
}


def generate(train_size: int, test_size: int, seed: int) -> Dataset:
    """Draw a data set of 100 classes in 20 superclasses, each class as often as any other (to within one image).

    Args:
        train_size: number of training images.
        test_size: number of test images; drawn independently of the training images.
        seed: the same seed gives the same images.
    """
    superclasses = [f"{wavelength} {direction}" for direction in _DIRECTIONS for wavelength in _WAVELENGTHS]
    return Dataset(
        train=_draw(train_size, seed, "train"),
        test=_draw(test_size, seed, "test"),
        classes=[f"{superclass} {colour}" for superclass in superclasses for colour in _COLOURS],
        superclasses=superclasses,
        superclass_of=torch.arange(100) // len(_COLOURS),
        hashes={"synthetic": f"seed {seed}, {train_size} + {test_size} images"},
    )


def _draw(count: int, seed: int, name: str) -> Split:
    index = torch.arange(count)
    labels = index % 100

    def between(low: float, high: float, what: str) -> Tensor:
        return low + (high - low) * draws.uniform(index, seed, name, what)

    directions = torch.tensor(list(_DIRECTIONS.values()))[labels // 20]
    wavelengths = torch.tensor(list(_WAVELENGTHS.values()))[labels // 5 % 4]
    colours = torch.tensor(list(_COLOURS.values()))[labels % 5]

    # A class is the same in the mirror: half of its waves lean the other way.
    mirrored = torch.where(draws.coin(index, seed, name, "mirror"), -1.0, 1.0)
    angle = (directions + between(-4, 4, "tilt")) * mirrored * math.pi / 180
    frequency = 2 * math.pi / (wavelengths * between(0.92, 1.08, "wavelength"))
    grid = torch.arange(32.0)
    across = (frequency * torch.cos(angle))[:, None] * grid  # phase per column
    down = (frequency * torch.sin(angle))[:, None] * grid  # phase per row
    phase = across[:, None, :] + down[:, :, None] + between(0, 2 * math.pi, "phase")[:, None, None]
    wave = torch.sin(phase)

    # The wave is strongest around a random place, as an object is; the rest is background and noise.
    x, y = between(8, 24, "x"), between(8, 24, "y")
    distance = (grid - x[:, None]).square()[:, None, :] + (grid - y[:, None]).square()[:, :, None]
    wave = wave * torch.exp(-distance / (2 * between(7, 12, "extent").square()[:, None, None]))

    contrast = between(0.12, 0.3, "contrast")
    background = torch.stack([between(0.35, 0.65, channel) for channel in ("red", "green", "blue")], dim=1)
    pixels = wave[:, None] * (contrast[:, None] * colours)[:, :, None, None] + background[:, :, None, None]
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(draws.key(seed, name, "noise")))
    images = pixels.add_(noise, alpha=0.06).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    return Split(images, labels)
