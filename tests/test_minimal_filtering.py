"""Minimal filtering: a convolution with fewer products."""

import pytest
import torch
from convolved import PLACES, compared, outcome, pair
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vgg_cifar.minimal_filtering import SIDES, minimal_filtering

CASES = [(dtype, side) for dtype, sides in SIDES.items() for side in sides]


@given(
    count=st.integers(1, 4), inputs=st.integers(1, 6), outputs=st.integers(1, 6),
    side=st.sampled_from(SIDES[torch.float64]),
    channels_last=st.booleans(),
)  # fmt: skip
@settings(max_examples=60)
def test_it_is_a_convolution_with_its_gradients(
    count: int, inputs: int, outputs: int, side: int, channels_last: bool
) -> None:
    compared(minimal_filtering, inputs, outputs, count, side, channels_last=channels_last)


@pytest.mark.parametrize("side", SIDES[torch.bfloat16])
def test_in_bfloat16_it_is_exact_where_every_sum_can_be_held(side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 2, side, side), (3, 2, 3, 3), (2, 3, side, side)]
    images, weight, gradient = (
        torch.randint(-1, 2, shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.5)
        for shape in shapes
    )
    found, expected = (module.bfloat16() for module in pair(2, 3, way=minimal_filtering))
    for module in (found, expected.double()):
        with torch.no_grad():
            module.weight.copy_(4 * weight)
            module.bias.zero_()
    mine = outcome(found, images.bfloat16(), 4 * gradient.bfloat16())
    right = outcome(expected, images.double(), 4 * gradient.double())
    assert [each.dtype for each in mine] == [torch.bfloat16] * 4
    for place, one, other in zip(PLACES, mine, right, strict=True):
        assert torch.equal(one.double(), other), place


@pytest.mark.parametrize("side", SIDES[torch.float64])
def test_its_gradients_are_those_of_its_outputs(side: int) -> None:
    shapes = [(2, 2, side, side), (3, 2, 3, 3), (3,)]
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(minimal_filtering, given, fast_mode=True)


@pytest.mark.parametrize(("dtype", "side"), [each for each in CASES if each[0] != torch.float64])
def test_the_error_is_small(dtype: torch.dtype, side: int) -> None:
    channels = 128 if side == 16 else 256
    images, gradient = (torch.randn(8, channels, side, side).to(dtype) for _ in range(2))
    images = images.relu()
    exact = outcome(pair(channels, channels, torch.float64)[1], images.double(), gradient.double())
    modules = pair(channels, channels, way=minimal_filtering)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found, usual = (outcome(module, images, gradient) for module in modules)
    assert [each.dtype for each in found] == [each.dtype for each in usual]
    for place, mine, torchs, right in zip(PLACES, found, usual, exact, strict=True):
        limit = (2e-6 if place == "outputs" else 4e-6) * right.norm()
        if dtype == torch.bfloat16:
            limit = 3.5 * (torchs - right).norm()
        assert (mine - right).norm() <= limit, place


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("dtype", "side"), CASES)
def test_what_follows_may_change_the_outputs_in_place(dtype: torch.dtype, side: int, count: int) -> None:
    images = torch.randn(count, 4, side, side, dtype=dtype, requires_grad=True)
    weight = torch.randn(4, 4, 3, 3, dtype=dtype)
    outputs = minimal_filtering(images, weight, torch.zeros(4, dtype=dtype))
    expected = nn.functional.conv2d(images.float(), weight.float(), padding=1).relu().sum()
    (wanted,) = torch.autograd.grad(expected, images)
    outputs.relu_().sum().backward()
    assert images.grad is not None
    assert (images.grad - wanted).norm() <= (0.05 if dtype == torch.bfloat16 else 1e-4) * wanted.norm()
