"""Minimal filtering: a convolution with fewer products."""

import pytest
import torch
from convolved import PLACES, compared, outcome, pair
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vgg_cifar.minimal_filtering import SIDES, minimal_filtering


@given(
    count=st.integers(1, 4), inputs=st.integers(1, 6), outputs=st.integers(1, 6), side=st.sampled_from(SIDES),
    channels_last=st.booleans(),
)  # fmt: skip
@settings(max_examples=60)
def test_it_is_a_convolution_with_its_gradients(
    count: int, inputs: int, outputs: int, side: int, channels_last: bool
) -> None:
    compared(minimal_filtering, inputs, outputs, count, side, channels_last=channels_last)


@pytest.mark.parametrize("side", SIDES)
def test_its_gradients_are_those_of_its_outputs(side: int) -> None:
    shapes = [(2, 2, side, side), (3, 2, 3, 3), (3,)]
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(minimal_filtering, given, fast_mode=True)


@pytest.mark.parametrize("side", SIDES)
def test_in_bfloat16_the_error_is_of_the_order_of_torchs(side: int) -> None:
    images, gradient = (torch.randn(8, 256, side, side).bfloat16() for _ in range(2))
    images = images.relu()
    exact = outcome(pair(256, 256, torch.float64)[1], images.double(), gradient.double())
    modules = pair(256, 256, way=minimal_filtering)
    with torch.autocast("cpu", torch.bfloat16):
        found, usual = (outcome(module, images, gradient) for module in modules)
    assert [each.dtype for each in found] == [each.dtype for each in usual]
    for place, mine, torchs, right in zip(PLACES, found, usual, exact, strict=True):
        assert (mine - right).norm() <= 3.5 * (torchs - right).norm(), place


@pytest.mark.parametrize("side", SIDES)
def test_what_follows_may_change_the_outputs_in_place(side: int) -> None:
    images, weight = torch.randn(2, 4, side, side, requires_grad=True), torch.randn(4, 4, 3, 3)
    outputs = minimal_filtering(images, weight, torch.zeros(4))
    expected = nn.functional.conv2d(images, weight, padding=1).relu().sum()
    (wanted,) = torch.autograd.grad(expected, images)
    outputs.relu_().sum().backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad, wanted, rtol=1e-4, atol=1e-4)
