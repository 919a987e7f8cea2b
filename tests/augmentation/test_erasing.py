"""Rectangles that images lose: where, how large, how often, and what is left there."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import RandomErasing

from vgg_cifar.augmentation.erasing import Cutout, Erasing, cover

COUNT = 4000
INDICES = torch.arange(COUNT)
COLOUR = (9, 250, 130)
edges = st.integers(-40, 40)


@given(rectangles=st.lists(st.tuples(edges, edges, st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=5))
@settings(deadline=None)
def test_a_covered_rectangle_has_the_colour_and_the_rest_is_left_alone(
    rectangles: list[tuple[int, int, int, int]], random_pixels: Callable[..., Tensor]
) -> None:
    pixels = random_pixels(len(rectangles), 20, 32)
    expected = pixels.clone()
    for image, (top, left, high, wide) in zip(expected, rectangles, strict=True):
        image[max(top, 0) : max(top + high, 0), max(left, 0) : max(left + wide, 0)] = torch.tensor(COLOUR).byte()
    ours = cover(pixels, *(torch.tensor(each) for each in zip(*rectangles, strict=True)), COLOUR)
    assert ours.dtype == torch.uint8
    assert torch.equal(ours, expected)


def covered(augmented: Tensor) -> Tensor:
    """Which pixels of images that were black are no longer so: bool [n, h, w]."""
    gone = (augmented == torch.tensor(COLOUR).byte()).all(dim=-1)
    assert torch.equal(gone, augmented.any(dim=-1))
    return gone


def black(count: int) -> Tensor:
    return torch.zeros(count, 32, 32, 3, dtype=torch.uint8)


@pytest.mark.parametrize("side", [1, 8, 15, 16])
def test_cutout_is_a_square_around_any_pixel_equally_often_which_may_hang_over_the_edge(side: int) -> None:
    gone = covered(Cutout(0, side, COLOUR)(black(COUNT), INDICES, 0))
    for axis in (1, 2):
        line = gone.any(dim=axis)
        first, length = line.int().argmax(dim=1), line.sum(dim=1)
        assert int(length.max()) == side
        assert int(length.min()) == max((side + 1) // 2, 1)
        assert torch.equal(gone.sum(dim=(1, 2)), gone.any(dim=1).sum(dim=1) * gone.any(dim=2).sum(dim=1))
        starts = torch.where(first > 0, first, length - side)  # of the whole square, where it hangs over the first edge
        centres = torch.bincount(starts + side // 2, minlength=32)
        assert len(centres) == 32
        assert (centres - COUNT / 32).abs().max() < 5 * math.sqrt(COUNT / 32)


@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
def test_an_image_is_erased_with_the_probability_asked_for(probability: float) -> None:
    erased = covered(Erasing(0, probability, COLOUR)(black(COUNT), INDICES, 0)).flatten(1).any(dim=1)
    deviation = math.sqrt(probability * (1 - probability) / COUNT)
    assert abs(float(erased.float().mean()) - probability) <= 5 * deviation


def torchvisions_rectangles() -> Tensor:
    """Top, left, height and width of as many rectangles as torchvision draws them: int64 [4, n]."""
    image = torch.zeros(3, 32, 32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(COUNT)]
    return torch.tensor(drawn).T


def test_what_is_erased_is_what_the_image_shows_and_is_distributed_as_torchvisions() -> None:
    erasing = Erasing(0, 1.0, COLOUR)
    rectangles = torch.stack(erasing.rectangles(INDICES, 0, 32, 32))
    shown = covered(erasing(black(COUNT), INDICES, 0))
    for image, (top, left, high, wide) in zip(shown[:100], rectangles.T.tolist(), strict=False):
        expected = torch.zeros(32, 32, dtype=torch.bool)
        expected[top : top + high, left : left + wide] = True
        assert torch.equal(image, expected)
    theirs = torchvisions_rectangles()
    measures = {
        "area": lambda r: r[2] * r[3],
        "ratio": lambda r: r[2] / r[3],
        "top": lambda r: r[0],
        "left": lambda r: r[1],
    }
    for name, measure in measures.items():
        values = [measure(each).double().sort().values for each in (rectangles, theirs)]
        places = torch.cat(values).unique()
        shares = [torch.searchsorted(each, places, right=True) / COUNT for each in values]
        distance = float((shares[0] - shares[1]).abs().max())  # Kolmogorov and Smirnov's
        assert distance < 2.2 * math.sqrt(2 / COUNT), name


def test_an_image_for_which_no_draw_fits_keeps_everything() -> None:
    pixels = torch.zeros(COUNT, 1, 1, 3, dtype=torch.uint8)
    assert not covered(Erasing(0, 1.0, COLOUR)(pixels, INDICES, 0)).any()
