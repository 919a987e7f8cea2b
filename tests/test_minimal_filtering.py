"""Minimal filtering: a convolution with fewer products."""

import pytest
import torch
from convolved import PLACES, outcome, pair
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vgg_cifar.convolution import Conv2d
from vgg_cifar.minimal_filtering import SIDES, minimal_filtering


class MinimalFiltering(Conv2d):
    """However many channels there are, and in any arithmetic."""

    def forward(self, images: Tensor) -> Tensor:
        assert self.bias is not None
        return minimal_filtering(images, self.weight, self.bias)


@given(
    count=st.integers(1, 4), inputs=st.integers(1, 6), outputs=st.integers(1, 6), side=st.sampled_from(SIDES),
    channels_last=st.booleans(),
)  # fmt: skip
@settings(max_examples=60)
def test_it_is_a_convolution_with_its_gradients(
    count: int, inputs: int, outputs: int, side: int, channels_last: bool
) -> None:
    images, gradient = (torch.randn(count, channels, side, side, dtype=torch.float64) for channels in (inputs, outputs))
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    ours, theirs = pair(inputs, outputs, torch.float64)
    ours.__class__ = MinimalFiltering
    found, expected = (outcome(module, images, gradient) for module in (ours, theirs))
    for place, mine, right in zip(PLACES, found, expected, strict=True):
        torch.testing.assert_close(mine, right, msg=lambda text, place=place: f"{place}: {text}")


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
    ours, theirs = pair(256, 256)
    ours.__class__ = MinimalFiltering
    with torch.autocast("cpu", torch.bfloat16):
        found, usual = (outcome(module, images, gradient) for module in (ours, theirs))
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
