"""Policies as tables: which operation an image goes through, how strongly, and how likely that is.

Operations, magnitudes, signs and chances are those of torchvision's classes of the same names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from vgg_cifar import draws
from vgg_cifar.augmentation import colour
from vgg_cifar.augmentation.autoaugment import CIFAR10
from vgg_cifar.augmentation.batch import only
from vgg_cifar.augmentation.geometry import affine

SIDE = 32
"""Of the images, in pixels: shears turn about their corner, RandAugment and AutoAugment shift by parts of it."""
SHEARS = ("shear_x", "shear_y")
SHIFTS = ("translate_x", "translate_y")
BLENDS = ("brightness", "color", "contrast", "sharpness")
SIGNED = (*SHEARS, *SHIFTS, "rotate", *BLENDS)
TONAL = ("brightness", "contrast", "posterize", "solarize", "autocontrast", "equalize", "invert")
DRAWN = ("identity", *SIGNED, "posterize", "solarize", "autocontrast", "equalize")
"""What TrivialAugment and RandAugment draw from."""
OPERATIONS = (*DRAWN, "invert")
BINS = 31
"""Magnitudes from nothing to the largest, in TrivialAugment and RandAugment."""


class Range(NamedTuple):
    """The largest magnitudes of a policy: of shears, shifts in pixels, degrees, blends, and bits lost."""

    shear: float
    shift: float
    degrees: float
    blend: float
    bits: int

    def magnitudes(self, operation: str, bins: int) -> list[float]:
        """What an operation's magnitude can be, weakest first; the same throughout for those that have none."""
        largest = {"rotate": self.degrees} | dict.fromkeys(SHEARS, self.shear) | dict.fromkeys(SHIFTS, self.shift)
        largest |= dict.fromkeys(BLENDS, self.blend)
        if operation == "posterize":
            return (8 - (torch.arange(bins) / ((bins - 1) / self.bits)).round()).tolist()
        if operation == "solarize":
            return torch.linspace(255.0, 0.0, bins).tolist()
        return torch.linspace(0.0, largest.get(operation, 0.0), bins).tolist()


WIDE = Range(shear=0.99, shift=32.0, degrees=135.0, blend=0.99, bits=6)
NARROW = Range(shear=0.3, shift=150 / 331 * SIDE, degrees=30.0, blend=0.9, bits=4)


class Move(NamedTuple):
    """An operation and its magnitude, with its sign."""

    operation: str
    magnitude: float


class Moves(NamedTuple):
    """Some moves, ready to be looked up by their numbers.

    Attributes:
        operation: int64 [moves], an index into `OPERATIONS`.
        matrices: float32 [moves, 6], see `geometry.affine`.
        tables: uint8 [moves, 256], see `colour.through`, where the image does not matter.
        factors: float32 [moves, 2], see `colour.blend`.
    """

    operation: Tensor
    matrices: Tensor
    tables: Tensor
    factors: Tensor


def compiled(moves: Sequence[Move], device: torch.device) -> Moves:
    """The moves as tensors on a device."""
    return Moves(
        torch.tensor([OPERATIONS.index(move.operation) for move in moves]).to(device),
        torch.tensor([_matrix(move) for move in moves]).to(device),
        torch.stack([_table(move) for move in moves]).to(device),
        torch.tensor([_factors(move) for move in moves]).to(device),
    )


def _matrix(move: Move) -> list[float]:
    match move.operation:
        case "shear_x":
            return [1.0, move.magnitude, move.magnitude * SIDE / 2, 0.0, 1.0, 0.0]
        case "shear_y":
            return [1.0, 0.0, 0.0, move.magnitude, 1.0, move.magnitude * SIDE / 2]
        case "translate_x":
            return [1.0, 0.0, -float(int(move.magnitude)), 0.0, 1.0, 0.0]
        case "translate_y":
            return [1.0, 0.0, 0.0, 0.0, 1.0, -float(int(move.magnitude))]
        case "rotate":
            cos, sin = math.cos(math.radians(move.magnitude)), math.sin(math.radians(move.magnitude))
            return [cos, -sin, 0.0, sin, cos, 0.0]
        case _:
            return [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def _table(move: Move) -> Tensor:
    values = colour.ramp(torch.device("cpu"))
    match move.operation:
        case "brightness":
            return colour.blend(values[None], torch.zeros(1, 1), torch.tensor([_factors(move)]))[0]
        case "posterize":
            return values & (256 - (1 << 8 - int(move.magnitude)))
        case "solarize":
            return torch.where(values >= move.magnitude, 255 - values, values)
        case "invert":
            return 255 - values
        case _:
            return values


def _factors(move: Move) -> list[float]:
    factor = 1.0 + move.magnitude if move.operation in BLENDS else 1.0
    return [factor, 1.0 - factor]


def perform(pixels: Tensor, moves: Moves, numbers: Tensor) -> Tensor:
    """Let each image make a move.

    Args:
        pixels: uint8 [n, 32, 32, 3].
        moves: those there are.
        numbers: int64 [n], which of them each image makes.

    Returns:
        uint8 [n, 32, 32, 3].
    """
    operation, matrices, tables, factors = (each.index_select(0, numbers) for each in moves)
    pixels = only(_is(operation, *SHEARS, *SHIFTS, "rotate"), affine, pixels, pixels, matrices)
    pixels = only(_is(operation, *TONAL), _change_tones, pixels, pixels, operation, tables, factors)
    pixels = only(_is(operation, "color"), colour.saturate, pixels, pixels, factors)
    return only(_is(operation, "sharpness"), colour.sharpen, pixels, pixels, factors)


def _is(operation: Tensor, *names: str) -> Tensor:
    return _known(names, operation.device).index_select(0, operation)


@cache
def _known(names: tuple[str, ...], device: torch.device) -> Tensor:
    return torch.tensor([name in names for name in OPERATIONS], device=device)


def _change_tones(pixels: Tensor, operation: Tensor, tables: Tensor, factors: Tensor) -> Tensor:
    """One look-up for every tonal operation; three of them depend on the image."""
    every = tables[:, :, None].expand(-1, -1, pixels.shape[-1])
    every = only(_is(operation, "contrast"), colour.contrast_tables, every, pixels, factors)
    every = only(_is(operation, "autocontrast"), colour.autocontrast_tables, every, pixels)
    every = only(_is(operation, "equalize"), colour.equalize_tables, every, pixels)
    return colour.through(pixels, every)


@dataclass(frozen=True)
class Even:
    """Operations one after the other, each drawn evenly, with a magnitude and a sign that are drawn evenly too.

    With one operation and all magnitudes, TrivialAugment (S. G. Mueller and F. Hutter, "TrivialAugment: Tuning-free Yet
    State-of-the-Art Data Augmentation", 2021) in its wide form; with a single magnitude, RandAugment (E. D. Cubuk et
    al., "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space", 2020).

    Attributes:
        seed: the run's.
        operations: how many an image goes through.
        ranges: how strong they can be.
        levels: those of `BINS` magnitudes, weakest first, that may be drawn.
    """

    seed: int
    operations: int
    ranges: Range
    levels: tuple[int, ...]

    def __call__(self, pixels: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """A `batch.Step`."""
        moves = _moves_of(self, pixels.device)
        for turn in range(self.operations):
            pixels = perform(pixels, moves, self.draw(indices, epoch, turn))
        return pixels

    def moves(self) -> tuple[Move, ...]:
        """All that can be drawn: for each operation each magnitude, with either sign where it has one."""
        magnitudes = {name: self.ranges.magnitudes(name, BINS) for name in DRAWN}
        return tuple(
            Move(name, sign * magnitudes[name][level] if name in SIGNED else magnitudes[name][level])
            for name in DRAWN
            for level in self.levels
            for sign in (1, -1)
        )

    def draw(self, indices: Tensor, epoch: int, turn: int) -> Tensor:
        """The numbers, int64 [n], of the moves that images make at a turn."""
        name = draws.integers(indices, len(DRAWN), self.seed, epoch, "operation", turn)
        level = draws.integers(indices, len(self.levels), self.seed, epoch, "magnitude", turn)
        return (name * len(self.levels) + level) * 2 + draws.coin(indices, self.seed, epoch, "sign", turn)


@dataclass(frozen=True)
class Learned:
    """One of 25 pairs of operations, which a search found for CIFAR-10, each of the two with a chance of its own.

    E. D. Cubuk et al., "AutoAugment: Learning Augmentation Strategies from Data", 2019.

    Attributes:
        seed: the run's.
    """

    seed: int

    def __call__(self, pixels: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """A `batch.Step`."""
        moves = _moves_of(self, pixels.device)
        for turn in range(2):
            pixels = perform(pixels, moves, self.draw(indices, epoch, turn))
        return pixels

    def moves(self) -> tuple[Move, ...]:
        """All that can be drawn: nothing, then for each pair and each of the two, the magnitude with either sign."""
        pairs = [(name, NARROW.magnitudes(name, 10)[level]) for pair in CIFAR10 for name, _, level in pair]
        signed = [Move(name, sign * size if name in SIGNED else size) for name, size in pairs for sign in (1, -1)]
        return (Move("identity", 0.0), *signed)

    def draw(self, indices: Tensor, epoch: int, turn: int) -> Tensor:
        """The numbers, int64 [n], of the moves that images make at a turn."""
        pair = draws.integers(indices, len(CIFAR10), self.seed, epoch, "pair")
        place = 2 * pair + turn
        happens = draws.uniform(indices, self.seed, epoch, "chance", turn) < _chances(indices.device)[place]
        return (1 + 2 * place + draws.coin(indices, self.seed, epoch, "sign", turn)) * happens


@cache
def _moves_of(policy: Even | Learned, device: torch.device) -> Moves:
    return compiled(policy.moves(), device)


@cache
def _chances(device: torch.device) -> Tensor:
    return torch.tensor([chance for pair in CIFAR10 for _, chance, _ in pair], device=device)
