"""Policies: torchvision's operations at every magnitude, drawn as often as torchvision draws them."""

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, autoaugment

from vgg_cifar.augmentation.autoaugment import CIFAR10
from vgg_cifar.augmentation.policies import BINS, NARROW, WIDE, Even, Learned, Move, compiled, perform

Apply = Callable[[Callable[..., Tensor], Tensor], Tensor]
CPU = torch.device("cpu")
TRIVIAL = Even(0, 1, WIDE, tuple(range(BINS)))
RAND = [Even(0, 2, NARROW, (level,)) for level in range(BINS)]
AUTO = Learned(0)
MOVES = sorted({*TRIVIAL.moves(), *(move for policy in RAND for move in policy.moves()), *AUTO.moves()})
THEIRS = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "color": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
}
"""What torchvision calls each operation."""


def theirs(move: Move) -> Callable[[Tensor], Tensor]:
    """What a policy of torchvision does to one image [3, 32, 32]."""
    nearest = InterpolationMode.NEAREST
    return lambda image: autoaugment._apply_op(image, THEIRS[move.operation], move.magnitude, nearest, None)


def ours(move: Move, pixels: Tensor) -> Tensor:
    return perform(pixels, compiled((move,), CPU), torch.zeros(len(pixels), dtype=torch.int64))


@pytest.mark.parametrize("operation", THEIRS)
def test_every_operation_equals_torchvisions_at_every_magnitude_of_every_policy(
    operation: str, pixels: Tensor, like_torchvision: Apply
) -> None:
    moves = [move for move in MOVES if move.operation == operation]
    assert moves
    midway = 0
    for move in moves:
        result, expected = ours(move, pixels), like_torchvision(theirs(move), pixels)
        assert result.dtype == torch.uint8
        midway += int((result != expected).any(dim=-1).any(dim=0).sum())
    # Only where a source lies midway between two pixels may another one be the nearest: at most one in a thousand.
    may_differ = operation in ("shear_x", "shear_y", "rotate")
    assert midway <= (len(moves) * 32 * 32 / 1000 if may_differ else 0)


def test_each_image_of_a_batch_makes_its_own_move(random_pixels: Callable[..., Tensor]) -> None:
    moves = TRIVIAL.moves()
    pixels = random_pixels(len(moves))
    numbers = torch.arange(len(moves)).flip(0)
    together = perform(pixels, compiled(moves, CPU), numbers)
    for place in range(0, len(moves), 7):
        assert torch.equal(together[place], ours(moves[len(moves) - 1 - place], pixels[place : place + 1])[0])


def with_signs(space: dict[str, tuple[Tensor, bool]], name: str, level: int) -> list[float]:
    """An operation's magnitude in a policy of torchvision, with either sign."""
    magnitudes, signed = space[name]
    magnitude = float(magnitudes[level]) if magnitudes.ndim else 0.0
    return [magnitude, -magnitude if signed else magnitude]


def test_trivial_augment_draws_from_torchvisions_operations_and_magnitudes() -> None:
    space = autoaugment.TrivialAugmentWide()._augmentation_space(BINS)
    expected = [(name, size) for name in space for level in range(BINS) for size in with_signs(space, name, level)]
    assert [(THEIRS[move.operation], move.magnitude) for move in TRIVIAL.moves()] == expected


@pytest.mark.parametrize("level", range(BINS))
def test_rand_augment_draws_from_torchvisions_operations_at_its_magnitude(level: int) -> None:
    space = autoaugment.RandAugment()._augmentation_space(BINS, (32, 32))
    expected = [(name, size) for name in space for size in with_signs(space, name, level)]
    assert [(THEIRS[move.operation], move.magnitude) for move in RAND[level].moves()] == expected


def test_auto_augment_draws_from_torchvisions_pairs() -> None:
    policy = autoaugment.AutoAugment(AutoAugmentPolicy.CIFAR10)
    space = policy._augmentation_space(10, (32, 32))
    expected = [
        (name, size)
        for pair in policy.policies
        for name, _, level in pair
        for size in with_signs(space, name, level or 0)
    ]
    nothing, *moves = AUTO.moves()
    assert nothing == Move("identity", 0.0)
    assert [(THEIRS[move.operation], move.magnitude) for move in moves] == expected
    chances = [chance for pair in policy.policies for _, chance, _ in pair]
    assert [chance for pair in CIFAR10 for _, chance, _ in pair] == chances


def is_drawn_as(numbers: Tensor, chances: Tensor) -> bool:
    """Whether draws fell as their chances say: chi-square within six deviations of what luck gives."""
    assert float(chances.sum()) == pytest.approx(1)
    counts = torch.bincount(numbers, minlength=len(chances)).double()
    assert len(counts) == len(chances)
    if counts[chances == 0].any():
        return False
    expected = chances[chances > 0] * len(numbers)
    assert expected.min() >= 5, "too few draws to tell"
    chi_square = float(((counts[chances > 0] - expected) ** 2 / expected).sum())
    freedom = len(expected) - 1
    return abs(chi_square - freedom) < 6 * math.sqrt(2 * freedom)


def test_trivial_augment_draws_each_operation_magnitude_and_sign_equally_often() -> None:
    count = len(TRIVIAL.moves())
    numbers = TRIVIAL.draw(torch.arange(50_000), 3, 0)
    assert is_drawn_as(numbers, torch.full((count,), 1 / count, dtype=torch.float64))


def test_rand_augment_draws_its_operations_equally_often_and_independently() -> None:
    count = len(RAND[9].moves())
    first, second = (RAND[9].draw(torch.arange(50_000), 3, turn) for turn in range(2))
    assert is_drawn_as(first * count + second, torch.full((count**2,), 1 / count**2, dtype=torch.float64))


def test_auto_augment_draws_each_pair_equally_often_and_each_of_the_two_with_its_own_chance() -> None:
    count = 200_000
    drawn = [AUTO.draw(torch.arange(count), 3, turn) for turn in range(2)]
    for turn, numbers in enumerate(drawn):
        chances = torch.zeros(101, dtype=torch.float64)
        for place, pair in enumerate(CIFAR10):
            chances[1 + 4 * place + 2 * turn :][:2] = pair[turn][1] / 25 / 2
        chances[0] = 1 - chances.sum()
        assert is_drawn_as(numbers, chances)
    both = (drawn[0] > 0) & (drawn[1] > 0)
    pairs = (drawn[0][both] - 1) // 4
    assert torch.equal(pairs, (drawn[1][both] - 1) // 4)
    together = torch.tensor([a[1] * b[1] for a, b in CIFAR10], dtype=torch.float64)
    assert is_drawn_as(pairs, together / together.sum())
    assert abs(len(pairs) - count * float(together.mean())) < 5 * math.sqrt(count)


@pytest.mark.parametrize("policy", [TRIVIAL, RAND[9], RAND[30], AUTO], ids=["trivial", "rand 9", "rand 30", "auto"])
def test_a_policy_performs_what_it_draws_one_after_the_other(
    policy: Even | Learned, random_pixels: Callable[..., Tensor]
) -> None:
    pixels, indices = random_pixels(40), torch.arange(40)
    moves, turns = policy.moves(), 1 if policy is TRIVIAL else 2
    numbers = [policy.draw(indices, 5, turn).tolist() for turn in range(turns)]
    assert len(Counter(numbers[0])) > 5
    result = policy(pixels, indices, 5)
    for place in range(40):
        expected = pixels[place : place + 1]
        for turn in range(turns):
            expected = ours(moves[numbers[turn][place]], expected)
        assert torch.equal(result[place], expected[0])
