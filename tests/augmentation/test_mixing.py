"""MixUp and CutMix: what is mixed, how much of it, and that the share told is the share there."""

import math
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vgg_cifar import draws
from vgg_cifar.augmentation.mixing import Mixing

Kind = Literal["mixup", "cutmix", "both", "regmixup"]
KINDS: list[Kind] = ["mixup", "cutmix", "both"]


def mixed(
    kind: Kind, count: int, *, alpha: float = 1.0, probability: float = 1.0, epoch: int = 0
) -> tuple[Tensor, Tensor]:
    """Ones mixed with zeros: a mixture's value is the share of the first image at that pixel."""
    ones = torch.ones(count, 3, 32, 32)
    return Mixing(kind, alpha, probability, seed=0)(ones, torch.zeros_like(ones), torch.arange(count), epoch)


@pytest.mark.parametrize("kind", KINDS)
def test_the_share_told_is_the_share_of_the_pixels(kind: Kind) -> None:
    images, share = mixed(kind, 300)
    torch.testing.assert_close(images.mean((1, 2, 3)), share, rtol=1e-5, atol=1e-6)
    assert share.min() >= 0
    assert share.max() <= 1


def test_mixup_is_the_same_everywhere_in_an_image() -> None:
    images, share = mixed("mixup", 50)
    torch.testing.assert_close(images, share[:, None, None, None].expand_as(images))
    assert (images == images[:, :1, :1, :1]).all()


def test_cutmix_puts_in_one_box_of_whole_pixels() -> None:
    images, _ = mixed("cutmix", 200)
    assert set(images.unique().tolist()) == {0.0, 1.0}
    for image in images:
        rows, columns = (image[0] == 0).any(1), (image[0] == 0).any(0)
        assert torch.equal(image[0] == 0, rows[:, None] & columns[None, :])
        for line in (rows, columns):  # without a gap
            assert int(line.int().diff().abs().sum()) <= 2


def test_a_box_is_as_large_as_the_papers_and_as_torchvisions() -> None:
    count = 400
    shares = draws.beta(torch.arange(count), 1.0, 0, 0, "mix share")
    images, _ = mixed("cutmix", count)
    sides = [int((image[0] == 0).any(0).sum()) for image in images]
    largest = [2 * int(0.5 * math.sqrt(1.0 - share) * 32) for share in shares.tolist()]
    assert all(side <= most for side, most in zip(sides, largest, strict=True))
    inside = [most for side, most in zip(sides, largest, strict=True) if side == most]
    assert len(inside) > count / 4  # the others hang over an edge


def test_both_takes_each_for_about_half_of_the_images() -> None:
    images, _ = mixed("both", 2000)
    boxed = ((images == 0) | (images == 1)).all(dim=3).all(dim=2).all(dim=1)
    assert abs(int(boxed.sum()) - 1000) < 5 * math.sqrt(500)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_only_that_share_of_the_images_is_mixed(kind: Kind, probability: float) -> None:
    images, share = mixed(kind, 2000, probability=probability)
    whole = (images == 1).all(dim=3).all(dim=2).all(dim=1)
    assert bool((share[whole] == 1).all())
    expected = 2000 * probability
    small_boxes = 2000 * (2 / 32) ** 2  # of less than two pixels: nothing is put in
    assert expected - 5 * math.sqrt(expected) - small_boxes <= int((~whole).sum()) <= expected + 5 * math.sqrt(expected)


@given(
    chosen=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    epoch=st.integers(0, 20),
    kind=st.sampled_from(KINDS),
)
@settings(max_examples=40)
def test_a_mixture_does_not_depend_on_the_batch_it_is_in(chosen: list[int], epoch: int, kind: Kind) -> None:
    generator = torch.Generator().manual_seed(1)
    first, second = torch.rand(2, 61, 3, 32, 32, generator=generator)
    mix, indices = Mixing(kind, 0.4, 0.8, seed=3), torch.tensor(chosen)
    together = mix(first[indices], second[indices], indices, epoch)
    for place, index in enumerate(chosen):
        alone = mix(first[[index]], second[[index]], torch.tensor([index]), epoch)
        assert torch.equal(alone[0][0], together[0][place])
        assert torch.equal(alone[1][0], together[1][place])


def test_every_epoch_mixes_anew() -> None:
    assert not torch.equal(mixed("mixup", 50, epoch=0)[1], mixed("mixup", 50, epoch=1)[1])


def test_regmixup_keeps_the_images_before_the_mixtures_of_mixup() -> None:
    first, second = torch.rand(2, 20, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    indices = torch.arange(20)
    images, share = Mixing("regmixup", 10.0, 0.9, seed=3)(first, second, indices, 4)
    mixtures, their_share = Mixing("mixup", 10.0, 0.9, seed=3)(first, second, indices, 4)
    assert torch.equal(images, torch.cat([first, mixtures]))
    assert torch.equal(share, torch.cat([torch.ones(20), their_share]))
    assert (their_share < 1).any()
