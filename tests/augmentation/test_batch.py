"""Steps: each image by its own draws, whatever lies beside it; and rows that a function makes, on any device alike."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vgg_cifar.augmentation import Augmentation
from vgg_cifar.augmentation.batch import Steps, everywhere, only
from vgg_cifar.choices import group_choices
from vgg_cifar.composition import compose_and_check
from vgg_cifar.data.loader import Augment

EVERYTHING = "augmentation.erase=0.5 augmentation.cutout=9 augmentation.degrees=20 augmentation.flip=alternating"
LINES = [f"augmentation={choice}" for choice in group_choices("augmentation") if choice != "none"]
LINES += [f"augmentation={policy} augmentation.padding_mode=reflect {EVERYTHING}" for policy in ("trivial", "auto")]


@cache
def options(line: str) -> Augmentation:
    return compose_and_check(line.split()).config.augmentation


def augmentation(line: str, seed: int = 0) -> Augment:
    augment = options(line).build(seed, [0.5, 0.4, 0.3])
    assert augment is not None
    return augment


@pytest.fixture(scope="module")
def images(random_pixels: Callable[..., Tensor]) -> Tensor:
    return random_pixels(60).permute(0, 3, 1, 2)


@pytest.mark.parametrize("line", LINES)
@given(
    chosen=st.lists(st.integers(0, 59), min_size=1, max_size=30), epoch=st.integers(0, 100), seed=st.integers(0, 100)
)
@settings(max_examples=15)
def test_what_happens_to_an_image_does_not_depend_on_its_neighbours(
    line: str, chosen: list[int], epoch: int, seed: int, images: Tensor
) -> None:
    augment, indices = augmentation(line, seed), torch.arange(60) + 1000
    together = augment(images, indices, epoch)
    assert not torch.equal(together, images)
    subset = torch.tensor(chosen)
    assert torch.equal(augment(images[subset], indices[subset], epoch), together[subset])
    for place in chosen[:2]:
        alone = augment(images[place : place + 1], indices[place : place + 1], epoch)
        assert torch.equal(alone, together[place : place + 1])


@pytest.mark.parametrize("line", LINES)
def test_the_images_handed_in_are_not_changed_and_come_in_any_memory_layout(line: str, images: Tensor) -> None:
    before, indices = images.clone(), torch.arange(60)
    results = [
        augmentation(line)(images.contiguous(memory_format=layout), indices, 0)
        for layout in (torch.channels_last, torch.contiguous_format)
    ]
    assert torch.equal(*results)
    assert results[0].shape == images.shape
    assert results[0].dtype == torch.uint8
    assert torch.equal(images, before)


@pytest.mark.parametrize("line", LINES)
def test_epoch_seed_and_image_each_change_what_happens(line: str, images: Tensor) -> None:
    indices, one = torch.arange(60), images[:1].expand(60, -1, -1, -1)
    usual = augmentation(line)(one, indices, 0)
    assert torch.equal(augmentation(line)(one, indices, 0), usual)
    others = [
        augmentation(line)(one, indices, 1),
        augmentation(line)(one, indices + 60, 0),
        augmentation(line, seed=1)(one, indices, 0),
    ]
    assert not any(torch.equal(other, usual) for other in others)


@pytest.mark.parametrize("line", LINES)
def test_a_device_on_which_nothing_is_counted_makes_the_same_images(
    line: str, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    indices = torch.arange(60)
    expected = augmentation(line)(images, indices, 3)
    for module in ("geometry", "erasing", "policies"):
        monkeypatch.setattr(f"vgg_cifar.augmentation.{module}.only", everywhere)
    assert torch.equal(augmentation(line)(images, indices, 3), expected)


@given(chosen=st.lists(st.booleans(), min_size=1, max_size=9))
@settings(deadline=None)
def test_only_the_chosen_rows_are_made_anew(chosen: list[bool]) -> None:
    rest = torch.arange(len(chosen) * 2).reshape(-1, 2)
    seen: list[int] = []

    def change(rows: Tensor, others: Tensor) -> Tensor:
        seen.extend(others.tolist())
        return -rows - 100

    result = only(torch.tensor(chosen), change, rest, rest, torch.arange(len(chosen)))
    expected = [[-a - 100, -b - 100] if new else [a, b] for new, (a, b) in zip(chosen, rest.tolist(), strict=True)]
    assert result.tolist() == expected
    assert seen == [place for place, new in enumerate(chosen) if new]


def test_without_steps_an_image_stays_as_it_is(images: Tensor) -> None:
    assert torch.equal(Steps(())(images, torch.arange(60), 4), images)
