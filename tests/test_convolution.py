"""The convolution: torch's, or a faster way where images are small and channels are many."""

import pytest
import torch
from convolved import outcome, pair
from torch import Tensor

from vgg_cifar import convolution
from vgg_cifar.convolution import Conv2d, faster

KINDS = pytest.mark.parametrize("amx", [False, True], ids=["without", "with"])
SIDES = (2, 4, 8)


def take(monkeypatch: pytest.MonkeyPatch, *, amx: bool) -> list[tuple[str, torch.Size]]:
    """Choose as on a CPU with AMX, or without: the faster ways that are taken from now on, and the images' shapes."""
    ways: list[tuple[str, torch.Size]] = []

    def watched(side: int) -> convolution.Faster:
        convolve, channels = faster(amx=amx)[side]

        def spy(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            ways.append((convolve.__name__, images.shape))
            return convolve(images, weight, bias)

        return convolution.Faster(spy, channels)

    monkeypatch.setattr(convolution, "FASTER", {side: watched(side) for side in faster(amx=amx)})
    return ways


@pytest.mark.parametrize(
    ("amx", "side", "dtype", "channels", "way"),
    [
        (False, 2, torch.bfloat16, 64, "minimal_filtering"),
        (False, 4, torch.bfloat16, 128, "minimal_filtering"),
        (False, 8, torch.bfloat16, 256, "minimal_filtering"),
        (False, 2, torch.float32, 64, "minimal_filtering"),
        (True, 2, torch.bfloat16, 64, "minimal_filtering"),
        (True, 4, torch.bfloat16, 128, "minimal_filtering"),
        (True, 8, torch.bfloat16, 128, "side_by_side"),
        (True, 2, torch.float32, 64, "minimal_filtering"),
    ],
)
def test_the_faster_way_is_taken(
    amx: bool, side: int, dtype: torch.dtype, channels: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = take(monkeypatch, amx=amx)
    images = torch.zeros(1, channels, side, side, dtype=dtype)
    Conv2d(channels, channels).to(dtype)(images)
    assert ways == [(way, images.shape)]
    Conv2d(channels, channels - 1).to(dtype)(images)
    Conv2d(channels - 1, channels).to(dtype)(images[:, 1:])
    assert len(ways) == 1, "fewer channels"


def test_it_chooses_for_this_cpu() -> None:
    assert faster(amx=torch.cpu._is_amx_tile_supported()) == convolution.FASTER


@KINDS
def test_elsewhere_and_without_a_batch_it_is_torchs(amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, amx=amx)
    module = Conv2d(256, 256).bfloat16()
    assert module(torch.zeros(256, 8, 8).bfloat16()).shape == (256, 8, 8)
    assert module.to("meta")(torch.zeros(1, 256, 8, 8, device="meta").bfloat16()).shape == (1, 256, 8, 8)
    assert not ways


@KINDS
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 4), (3, 3), (5, 5), (6, 6), (16, 16)])
def test_other_images_are_torchs(shape: tuple[int, int], amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, amx=amx)
    images, gradient = torch.randn(2, 256, *shape), torch.randn(2, 256, *shape)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (outcome(module, images, gradient) for module in pair(256, 256))
    assert not ways
    assert all(torch.equal(mine, right) for mine, right in zip(found, expected, strict=True))


@KINDS
def test_float32_is_torchs_beyond_two_by_two_pixels(amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, amx=amx)
    module = Conv2d(256, 256)
    for side in (4, 8):
        module(torch.zeros(1, 256, side, side))
    assert not ways


@KINDS
@pytest.mark.parametrize("side", SIDES)
def test_under_autocast_types_are_torchs(side: int, amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, amx=amx)
    images, gradient = torch.randn(4, 256, side, side), torch.randn(4, 256, side, side)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (outcome(module, images, gradient) for module in pair(256, 256))
    assert ways
    assert [each.dtype for each in found] == [each.dtype for each in expected]
    assert found[0].dtype == torch.bfloat16
    for mine, right in zip(found, expected, strict=True):
        assert (mine - right).norm() < 0.05 * right.norm()


@KINDS
@pytest.mark.parametrize("side", SIDES)
def test_it_is_the_same_every_time_and_without_gradients(side: int, amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, amx=amx)
    module = pair(256, 256)[0]
    images, gradient = torch.randn(4, 256, side, side), torch.randn(4, 256, side, side)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():
            before = module(images)
        module.zero_grad()
        first = [each.clone() for each in outcome(module, images, gradient)]
        module.zero_grad()
        second = outcome(module, images, gradient)
    assert len(ways) == 3
    assert torch.equal(before, first[0])
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@KINDS
@pytest.mark.parametrize("side", SIDES)
def test_layouts_are_torchs(side: int, amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    take(monkeypatch, amx=amx)
    images = torch.randn(4, 256, side, side).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        for module in pair(256, 256):
            found = outcome(module, images, images)
            assert all(each.is_contiguous(memory_format=torch.channels_last) for each in found[:3])


def test_the_state_dict_is_torchs() -> None:
    ours, theirs = pair(3, 4)
    assert list(ours.state_dict()) == list(theirs.state_dict())
