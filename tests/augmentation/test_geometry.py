"""Shifts, mirror images and rotations: torchvision's, pixel for pixel, with a draw of its own for every image."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import functional as reference

from vgg_cifar.augmentation.geometry import Geometry, crop_and_flip, rotate


def random_images(count: int, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def marked(count: int, row: slice, column: slice) -> Tensor:
    """Black images with one white patch."""
    images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    images[:, :, row, column] = 255
    return images


@given(
    windows=st.integers(0, 5).flatmap(
        lambda padding: st.tuples(
            st.just(padding),
            st.lists(
                st.tuples(st.integers(0, 2 * padding), st.integers(0, 2 * padding), st.booleans()),
                min_size=1,
                max_size=5,
            ),
        )
    ),
    height=st.integers(4, 33),
    width=st.integers(4, 33),
)
@settings(deadline=None, max_examples=150)
def test_crop_and_flip_equals_torchvision_bit_for_bit(
    windows: tuple[int, list[tuple[int, int, bool]]], height: int, width: int
) -> None:
    padding, chosen = windows
    images = random_images(len(chosen), height, width)
    top, left, mirrored = (torch.tensor(values) for values in zip(*chosen, strict=True))
    expected = []
    for image, (row, column, flip) in zip(images, chosen, strict=True):
        window = reference.crop(reference.pad(image, [padding] * 4), row, column, height, width)
        expected.append(reference.hflip(window) if flip else window)
    ours = crop_and_flip(images, padding, top, left, mirrored)
    assert ours.dtype == torch.uint8
    assert torch.equal(ours, torch.stack(expected))


@pytest.mark.parametrize("degrees", [-180, -90, 0, 90, 180, 270])
def test_a_rotation_by_quarter_turns_is_exact(degrees: int) -> None:
    images = random_images(4)
    ours = rotate(images, torch.full((4,), float(degrees)))
    assert ours.dtype == torch.uint8
    assert torch.equal(ours, torch.rot90(images, degrees // 90, dims=(2, 3)))  # counter-clockwise
    assert torch.equal(ours, reference.rotate(images, degrees))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (31, 31), (24, 32)])
def test_a_rotation_equals_torchvisions_but_for_one_pixel_in_a_thousand(height: int, width: int) -> None:
    images = random_images(100, height, width)
    degrees = torch.linspace(-180, 180, 100)
    expected = torch.stack(
        [reference.rotate(image, float(angle)) for image, angle in zip(images, degrees, strict=True)]
    )
    differing = (rotate(images, degrees) != expected).any(dim=1)
    assert differing.float().mean() <= 1e-3


@given(
    chosen=st.lists(st.integers(0, 49), min_size=1, max_size=20), epoch=st.integers(0, 100), seed=st.integers(0, 100)
)
@settings(deadline=None, max_examples=50)
def test_what_happens_to_an_image_does_not_depend_on_its_neighbours(chosen: list[int], epoch: int, seed: int) -> None:
    images, indices = random_images(50), torch.arange(50) + 1000
    augment = Geometry(seed, padding=4, flip=True, degrees=15)
    together = augment(images, indices, epoch)
    subset = torch.tensor(chosen)
    assert torch.equal(augment(images[subset], indices[subset], epoch), together[subset])


def test_epoch_seed_and_image_each_change_what_happens() -> None:
    image, index = random_images(1), torch.tensor([5])
    augment = Geometry(0, padding=4, flip=True, degrees=15)
    usual = augment(image, index, 0)
    assert torch.equal(augment(image, index, 0), usual)
    others = [
        augment(image, index, 1),
        augment(image, index + 1, 0),
        Geometry(1, padding=4, flip=True, degrees=15)(image, index, 0),
    ]
    assert not any(torch.equal(other, usual) for other in others)


def test_shifts_cover_every_offset_about_equally_often() -> None:
    padding, count = 2, 5000
    shifted = Geometry(0, padding=padding)(marked(count, slice(16, 17), slice(16, 17)), torch.arange(count), 0)
    _, row, column = shifted[:, 0].nonzero().unbind(1)
    reach = 2 * padding + 1
    places = torch.bincount((row - 16 + padding) * reach + column - 16 + padding, minlength=reach**2)
    assert len(row) == count
    assert len(places) == reach**2
    expected = count / reach**2
    assert (places - expected).abs().max() < 5 * math.sqrt(expected)


def test_about_half_of_the_images_are_mirrored_and_the_others_are_left_alone() -> None:
    count = 4000
    images = random_images(1).expand(count, -1, -1, -1)
    flipped = Geometry(0, flip=True)(images, torch.arange(count), 0)
    mirrored = (flipped == images.flip(3)).flatten(1).all(dim=1)
    untouched = (flipped == images).flatten(1).all(dim=1)
    assert torch.equal(mirrored, ~untouched)
    assert abs(int(mirrored.sum()) - count / 2) < 5 * math.sqrt(count) / 2


def test_angles_spread_evenly_to_both_sides_and_no_farther_than_asked_for() -> None:
    count, degrees = 2000, 30.0
    rotated = Geometry(0, degrees=degrees)(marked(count, slice(14, 18), slice(28, 31)), torch.arange(count), 0)
    weights = rotated[:, 0].float() / rotated[:, 0].float().sum(dim=(1, 2), keepdim=True)
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


def test_without_padding_flip_and_rotation_an_image_stays_as_it_is() -> None:
    images = random_images(20)
    assert torch.equal(Geometry(3)(images, torch.arange(20), 4), images)


def test_the_images_handed_in_are_not_changed() -> None:
    images = random_images(20)
    before = images.clone()
    augmented = Geometry(0, padding=4, flip=True, degrees=15)(images, torch.arange(20), 0)
    assert augmented.shape == images.shape
    assert augmented.dtype == images.dtype
    assert not torch.equal(augmented, images)
    assert torch.equal(images, before)
