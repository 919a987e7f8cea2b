"""Shifts, mirror images and rotations: torchvision's, pixel for pixel, with a draw of its own for every image."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import functional as reference

from vgg_cifar.augmentation.geometry import Crop, Flip, Rotation, affine, crop, mirror, rotate

MODES = {"zero": "constant", "reflect": "reflect"}


def marked(count: int, row: slice, column: slice) -> Tensor:
    """Black images with one white patch."""
    pixels = torch.zeros(count, 32, 32, 3, dtype=torch.uint8)
    pixels[:, row, column] = 255
    return pixels


@pytest.mark.parametrize("mode", MODES)
@given(
    windows=st.integers(0, 5).flatmap(
        lambda padding: st.tuples(
            st.just(padding),
            st.lists(
                st.tuples(st.integers(0, 2 * padding), st.integers(0, 2 * padding)),
                min_size=1,
                max_size=5,
            ),
        )
    ),
    height=st.integers(6, 33),
    width=st.integers(6, 33),
)
@settings(max_examples=150)
def test_a_crop_equals_torchvisions_bit_for_bit(
    mode: str,
    windows: tuple[int, list[tuple[int, int]]],
    height: int,
    width: int,
    random_pixels: Callable[..., Tensor],
) -> None:
    padding, chosen = windows
    pixels = random_pixels(len(chosen), height, width)
    top, left = (torch.tensor(values) for values in zip(*chosen, strict=True))
    expected = [
        reference.crop(
            reference.pad(image, [padding] * 4, padding_mode=MODES[mode]), row, column, height, width
        ).permute(1, 2, 0)
        for image, (row, column) in zip(pixels.permute(0, 3, 1, 2), chosen, strict=True)
    ]
    ours = crop(pixels, padding, mode, top, left)
    assert ours.dtype == torch.uint8
    assert torch.equal(ours, torch.stack(expected))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("corner", [0, 62])
def test_the_largest_padding_can_be_had(mode: str, corner: int, random_pixels: Callable[..., Tensor]) -> None:
    pixels = random_pixels(2)
    padded = reference.pad(pixels.permute(0, 3, 1, 2), [31] * 4, padding_mode=MODES[mode])
    expected = padded[..., corner : corner + 32, corner : corner + 32].permute(0, 2, 3, 1)
    where = torch.full((2,), corner)
    assert torch.equal(crop(pixels, 31, mode, where, where), expected)


def test_a_mirror_image_equals_torchvisions(
    pixels: Tensor, like_torchvision: Callable[[Callable[..., Tensor], Tensor], Tensor]
) -> None:
    assert torch.equal(mirror(pixels), like_torchvision(reference.hflip, pixels))


@pytest.mark.parametrize("degrees", [-180, -90, 0, 90, 180, 270])
def test_a_rotation_by_quarter_turns_is_exact(degrees: int, random_pixels: Callable[..., Tensor]) -> None:
    pixels = random_pixels(4)
    ours = rotate(pixels, torch.full((4,), float(degrees)))
    assert ours.dtype == torch.uint8
    assert torch.equal(ours, torch.rot90(pixels, degrees // 90, dims=(1, 2)))  # counter-clockwise
    assert torch.equal(ours, reference.rotate(pixels.permute(0, 3, 1, 2), degrees).permute(0, 2, 3, 1))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (31, 31), (24, 32)])
def test_a_rotation_equals_torchvisions_but_for_one_pixel_in_a_thousand(
    height: int, width: int, random_pixels: Callable[..., Tensor]
) -> None:
    pixels = random_pixels(100, height, width)
    degrees = torch.linspace(-180, 180, 100)
    expected = torch.stack(
        [
            reference.rotate(image.permute(2, 0, 1), float(angle)).permute(1, 2, 0)
            for image, angle in zip(pixels, degrees, strict=True)
        ]
    )
    differing = (rotate(pixels, degrees) != expected).any(dim=-1)
    assert differing.float().mean() <= 1e-3


def test_an_affine_map_takes_each_pixel_from_where_the_matrix_says_and_black_from_outside() -> None:
    pixels = torch.arange(1, 13, dtype=torch.uint8).reshape(1, 3, 4, 1)
    right_and_up = torch.tensor([[1.0, 0.0, -1.0, 0.0, 1.0, 1.0]])
    assert affine(pixels, right_and_up)[0, ..., 0].tolist() == [[0, 5, 6, 7], [0, 9, 10, 11], [0, 0, 0, 0]]


def test_shifts_cover_every_offset_about_equally_often() -> None:
    padding, count = 2, 5000
    pixels = marked(count, slice(16, 17), slice(16, 17))
    shifted = Crop(0, padding, "zero")(pixels, torch.arange(count), 0)
    _, row, column = shifted[..., 0].nonzero().unbind(1)
    reach = 2 * padding + 1
    places = torch.bincount((row - 16 + padding) * reach + column - 16 + padding, minlength=reach**2)
    assert len(row) == count
    assert len(places) == reach**2
    expected = count / reach**2
    assert (places - expected).abs().max() < 5 * math.sqrt(expected)


def is_mirrored(flipped: Tensor, pixels: Tensor) -> Tensor:
    """Which images are mirrored; the others have to be as they were."""
    mirrored = (flipped == pixels.flip(2)).flatten(1).all(dim=1)
    untouched = (flipped == pixels).flatten(1).all(dim=1)
    assert torch.equal(mirrored, ~untouched)
    return mirrored


@pytest.mark.parametrize("alternating", [False, True])
def test_about_half_of_the_images_are_mirrored_and_the_others_are_left_alone(
    alternating: bool, random_pixels: Callable[..., Tensor]
) -> None:
    count = 4000
    pixels = random_pixels(1).expand(count, -1, -1, -1)
    for epoch in range(3):
        mirrored = is_mirrored(Flip(0, alternating)(pixels, torch.arange(count), epoch), pixels)
        assert abs(int(mirrored.sum()) - count / 2) < 5 * math.sqrt(count) / 2


def test_an_alternating_flip_shows_each_side_of_each_image_every_other_epoch(
    random_pixels: Callable[..., Tensor],
) -> None:
    pixels, indices = random_pixels(200), torch.arange(200)
    sides = [is_mirrored(Flip(5, alternating=True)(pixels, indices, epoch), pixels) for epoch in range(6)]
    for epoch in range(5):
        assert torch.equal(sides[epoch + 1], ~sides[epoch])
    drawn_anew = [is_mirrored(Flip(5)(pixels, indices, epoch), pixels) for epoch in range(2)]
    assert torch.equal(drawn_anew[0], sides[0])  # the first epoch is the same one
    assert not torch.equal(drawn_anew[1], sides[1])


def test_angles_spread_evenly_to_both_sides_and_no_farther_than_asked_for() -> None:
    count, degrees = 2000, 30.0
    rotated = Rotation(0, degrees)(marked(count, slice(14, 18), slice(28, 31)), torch.arange(count), 0)
    weights = rotated[..., 0].float() / rotated[..., 0].float().sum(dim=(1, 2), keepdim=True)
    offset = torch.arange(32) - 15.5
    up = -(weights.sum(2) * offset).sum(1)
    right = (weights.sum(1) * offset).sum(1)
    angles = torch.rad2deg(torch.atan2(up, right))
    blur = 2.0  # of a patch this far from the centre, moved to whole pixels
    assert angles.abs().max() < degrees + blur
    assert angles.abs().max() > degrees - blur
    deviation = degrees / math.sqrt(3)  # of an even distribution
    assert abs(float(angles.mean())) < 5 * deviation / math.sqrt(count)
    assert float(angles.std()) == pytest.approx(deviation, rel=0.05)
