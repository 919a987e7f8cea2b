"""The convolution: torch's, by minimal filtering where images are small and channels are many."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vgg_cifar import convolution
from vgg_cifar.convolution import LEAST_CHANNELS, Conv2d, least_channels

PLACES = ("outputs", "images", "weight", "bias")
SIDES = tuple(LEAST_CHANNELS)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of the images that went the faster way, as on a CPU without AMX."""
    monkeypatch.setattr(convolution, "LEAST_CHANNELS", least_channels(amx=False))
    shapes: list[torch.Size] = []
    faster = convolution.minimal_filtering

    def spy(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        shapes.append(images.shape)
        return faster(images, weight, bias)

    monkeypatch.setattr(convolution, "minimal_filtering", spy)
    return shapes


def pair(inputs: int, outputs: int, dtype: torch.dtype = torch.float32) -> tuple[Conv2d, nn.Conv2d]:
    torch.manual_seed(0)
    ours = Conv2d(inputs, outputs).to(dtype, memory_format=torch.channels_last)
    theirs = nn.Conv2d(inputs, outputs, 3, padding=1).to(dtype, memory_format=torch.channels_last)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def outcome(module: nn.Conv2d, images: Tensor, gradient: Tensor) -> list[Tensor]:
    """What comes out, and the gradients of what went in."""
    images = images.clone().requires_grad_()
    outputs = module(images)
    outputs.backward(gradient.to(outputs.dtype))
    assert module.weight.grad is not None
    assert module.bias is not None
    assert images.grad is not None
    assert module.bias.grad is not None
    return [outputs.detach(), images.grad, module.weight.grad, module.bias.grad]


class MinimalFiltering(Conv2d):
    """However many channels there are, and in any arithmetic."""

    def forward(self, images: Tensor) -> Tensor:
        assert self.bias is not None
        return convolution.minimal_filtering(images, self.weight, self.bias)


@given(
    count=st.integers(1, 4), inputs=st.integers(1, 6), outputs=st.integers(1, 6), side=st.sampled_from(SIDES),
    channels_last=st.booleans(),
)  # fmt: skip
@settings(max_examples=60)
def test_minimal_filtering_is_a_convolution_with_its_gradients(
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
    assert torch.autograd.gradcheck(convolution.minimal_filtering, given, fast_mode=True)


@pytest.mark.parametrize(
    ("side", "dtype", "channels"),
    [(2, torch.bfloat16, 64), (4, torch.bfloat16, 128), (8, torch.bfloat16, 256), (2, torch.float32, 64)],
)
def test_it_is_taken_where_it_is_faster(side: int, dtype: torch.dtype, channels: int, taken: list[torch.Size]) -> None:
    images = torch.zeros(1, channels, side, side, dtype=dtype)
    Conv2d(channels, channels).to(dtype)(images)
    assert taken == [images.shape]
    Conv2d(channels, channels - 1).to(dtype)(images)
    assert len(taken) == 1, "fewer channels"


def test_on_amx_it_takes_more_channels_where_images_are_largest(
    monkeypatch: pytest.MonkeyPatch, taken: list[torch.Size]
) -> None:
    monkeypatch.setattr(convolution, "LEAST_CHANNELS", least_channels(amx=True))
    for side, channels in ((2, 64), (4, 128), (8, 256), (8, 384)):
        Conv2d(channels, channels).bfloat16()(torch.zeros(1, channels, side, side).bfloat16())
    assert [tuple(shape[1:]) for shape in taken] == [(64, 2, 2), (128, 4, 4), (384, 8, 8)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 4), (3, 3), (5, 5), (6, 6), (16, 16)])
def test_other_images_are_torchs(shape: tuple[int, int], taken: list[torch.Size]) -> None:
    images, gradient = torch.randn(2, 256, *shape), torch.randn(2, 256, *shape)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (outcome(module, images, gradient) for module in pair(256, 256))
    assert not taken
    assert all(torch.equal(mine, right) for mine, right in zip(found, expected, strict=True))


def test_float32_is_torchs_beyond_two_by_two_pixels(taken: list[torch.Size]) -> None:
    module = Conv2d(256, 256)
    for side in (4, 8):
        module(torch.zeros(1, 256, side, side))
    assert not taken


@pytest.mark.parametrize("side", SIDES)
def test_under_autocast_the_result_is_bfloat16_and_the_error_of_the_order_of_torchs(
    side: int, taken: list[torch.Size]
) -> None:
    images, gradient = (torch.randn(8, 256, side, side).bfloat16() for _ in range(2))
    images = images.relu()
    exact = outcome(pair(256, 256, torch.float64)[1], images.double(), gradient.double())
    with torch.autocast("cpu", torch.bfloat16):
        found, usual = (outcome(module, images, gradient) for module in pair(256, 256))
    assert taken
    assert [each.dtype for each in found] == [each.dtype for each in usual]
    assert found[0].dtype == torch.bfloat16
    for place, ours, theirs, right in zip(PLACES, found, usual, exact, strict=True):
        assert (ours - right).norm() <= 3.5 * (theirs - right).norm(), place


def test_it_is_the_same_every_time_and_without_gradients(taken: list[torch.Size]) -> None:
    module = pair(128, 128)[0]
    images, gradient = torch.randn(4, 128, 4, 4), torch.randn(4, 128, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():
            before = module(images)
        first, second = (outcome(module, images, gradient)[:2] for _ in range(2))
    assert len(taken) == 3
    assert torch.equal(before, first[0])
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("side", SIDES)
def test_layouts_are_torchs(side: int) -> None:
    images = torch.randn(4, 256, side, side).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        for module in pair(256, 256):
            found = outcome(module, images, images)
            assert all(each.is_contiguous(memory_format=torch.channels_last) for each in found[:3])


def test_the_state_dict_is_torchs() -> None:
    ours, theirs = pair(3, 4)
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("side", SIDES)
def test_what_follows_may_change_the_outputs_in_place(side: int) -> None:
    images, weight = torch.randn(2, 4, side, side, requires_grad=True), torch.randn(4, 4, 3, 3)
    outputs = convolution.minimal_filtering(images, weight, torch.zeros(4))
    expected = nn.functional.conv2d(images, weight, padding=1).relu().sum()
    (wanted,) = torch.autograd.grad(expected, images)
    outputs.relu_().sum().backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad, wanted, rtol=1e-4, atol=1e-4)
