"""The convolution: torch's, by a faster way where images have 2x2 pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vgg_cifar.convolution import Conv2d

PLACES = ("outputs", "images", "weight", "bias")


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


@given(
    count=st.integers(1, 4), inputs=st.integers(1, 6), outputs=st.integers(1, 6), height=st.integers(1, 4),
    width=st.integers(1, 4), channels_last=st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=80)
def test_outputs_and_gradients_are_torchs(
    count: int, inputs: int, outputs: int, height: int, width: int, channels_last: bool
) -> None:
    images, gradient = (
        torch.randn(count, channels, height, width, dtype=torch.float64) for channels in (inputs, outputs)
    )
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    found, expected = (outcome(module, images, gradient) for module in pair(inputs, outputs, torch.float64))
    for place, ours, theirs in zip(PLACES, found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, msg=lambda text, place=place: f"{place}: {text}")


def test_two_by_two_pixels_take_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    linear = torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear", lambda *args: taken.append(args[1].shape) or linear(*args))
    module = Conv2d(3, 5)
    for side in (1, 2, 3, 4):
        module(torch.zeros(1, 3, side, side))
    assert taken == [(20, 12)]


def test_under_autocast_the_result_is_bfloat16_and_as_exact_as_torchs() -> None:
    images, gradient = torch.randn(8, 64, 2, 2), torch.randn(8, 64, 2, 2)
    exact = outcome(pair(64, 64)[1], images, gradient)
    with torch.autocast("cpu", torch.bfloat16):
        found, usual = (outcome(module, images, gradient) for module in pair(64, 64))
    assert found[0].dtype == usual[0].dtype == torch.bfloat16
    for ours, theirs, right in zip(found, usual, exact, strict=True):
        assert (ours - right).abs().mean() <= 1.5 * (theirs - right).abs().mean()


def test_outputs_are_channels_last_as_torchs_are() -> None:
    images = torch.randn(4, 8, 2, 2).contiguous(memory_format=torch.channels_last)
    for module in pair(8, 16):
        assert module(images).is_contiguous(memory_format=torch.channels_last)


def test_the_state_dict_is_torchs() -> None:
    ours, theirs = pair(3, 4)
    assert list(ours.state_dict()) == list(theirs.state_dict())
