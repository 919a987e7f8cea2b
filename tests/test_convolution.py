"""The convolution: torch's, or a faster way where images are small and channels are many."""

import pytest
import torch
from convolved import outcome, pair
from torch import Tensor

from vgg_cifar import convolution
from vgg_cifar.convolution import Conv2d, faster

KINDS = pytest.mark.parametrize("instructions", ["AMX", "AVX512", "AVX2"])
SIDES = (2, 4, 8)


def take(monkeypatch: pytest.MonkeyPatch, instructions: str) -> list[tuple[str, torch.Size]]:
    """Choose as on a CPU of that kind: the faster ways that are taken from now on, and the images' shapes."""
    ways: list[tuple[str, torch.Size]] = []

    def watched(way: convolution.Faster) -> convolution.Faster:
        def spy(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            ways.append((way.convolve.__name__, images.shape))
            return way.convolve(images, weight, bias)

        return way._replace(convolve=spy)

    found = {images: watched(way) for images, way in faster(instructions).items()}
    monkeypatch.setattr(convolution, "FASTER", found)
    return ways


@pytest.mark.parametrize(
    ("instructions", "side", "dtype", "channels", "count", "way"),
    [
        ("AVX512", 2, torch.bfloat16, 64, 1, "minimal_filtering"),
        ("AVX512", 4, torch.bfloat16, 128, 1, "minimal_filtering"),
        ("AVX512", 8, torch.bfloat16, 256, 1, "minimal_filtering"),
        ("AVX512", 2, torch.float32, 64, 4, "minimal_filtering"),
        ("AMX", 2, torch.bfloat16, 64, 1, "minimal_filtering"),
        ("AMX", 4, torch.bfloat16, 128, 1, "minimal_filtering"),
        ("AMX", 8, torch.bfloat16, 128, 1, "side_by_side"),
        ("AMX", 2, torch.float32, 64, 4, "minimal_filtering"),
        ("AVX2", 2, torch.float32, 64, 4, "minimal_filtering"),
        ("AVX2", 4, torch.float32, 64, 16, "minimal_filtering"),
        ("AVX2", 8, torch.float32, 64, 16, "minimal_filtering"),
        ("AVX2", 16, torch.float32, 64, 16, "minimal_filtering"),
    ],
)
def test_the_faster_way_is_taken(
    instructions: str,
    side: int,
    dtype: torch.dtype,
    channels: int,
    count: int,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ways = take(monkeypatch, instructions)
    images = torch.zeros(count, channels, side, side, dtype=dtype)
    Conv2d(channels, channels).to(dtype)(images)
    assert ways == [(way, images.shape)]
    if count > 1:
        Conv2d(channels, channels).to(dtype)(images[1:])
        assert len(ways) == 1, "fewer images"
    Conv2d(channels, channels - 1).to(dtype)(images)
    Conv2d(channels - 1, channels).to(dtype)(images[:, 1:])
    assert len(ways) == 1, "fewer channels"


def test_it_chooses_for_this_cpu() -> None:
    amx = torch.cpu._is_amx_tile_supported()
    assert faster("AMX" if amx else torch.backends.cpu.get_cpu_capability()) == convolution.FASTER


@KINDS
def test_elsewhere_and_without_a_batch_it_is_torchs(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, instructions)
    module = Conv2d(256, 256).bfloat16()
    assert module(torch.zeros(256, 8, 8).bfloat16()).shape == (256, 8, 8)
    assert module.to("meta")(torch.zeros(1, 256, 8, 8, device="meta").bfloat16()).shape == (1, 256, 8, 8)
    assert not ways


@KINDS
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 4), (3, 3), (5, 5), (6, 6)])
def test_other_images_are_torchs(shape: tuple[int, int], instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, instructions)
    images, gradient = torch.randn(2, 256, *shape), torch.randn(2, 256, *shape)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (outcome(module, images, gradient) for module in pair(256, 256))
    assert not ways
    assert all(torch.equal(mine, right) for mine, right in zip(found, expected, strict=True))


@KINDS
def test_float32_is_torchs_beyond_two_by_two_pixels_but_with_avx2(
    instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = take(monkeypatch, instructions)
    for side in (4, 8, 16, 32):
        Conv2d(64, 64)(torch.zeros(16, 64, side, side))
    assert [shape[-1] for _, shape in ways] == ([4, 8, 16] if instructions == "AVX2" else [])


@KINDS
def test_bfloat16_is_torchs_beyond_eight_by_eight_pixels(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, instructions)
    Conv2d(256, 256).bfloat16()(torch.zeros(4, 256, 16, 16, dtype=torch.bfloat16))
    assert not ways


@KINDS
@pytest.mark.parametrize("side", SIDES)
def test_under_autocast_types_are_torchs(side: int, instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, instructions)
    images, gradient = torch.randn(4, 256, side, side), torch.randn(4, 256, side, side)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (outcome(module, images, gradient) for module in pair(256, 256))
    assert ways
    assert [each.dtype for each in found] == [each.dtype for each in expected]
    assert found[0].dtype == torch.bfloat16
    for mine, right in zip(found, expected, strict=True):
        assert (mine - right).norm() < 0.05 * right.norm()


TAKEN = pytest.mark.parametrize(
    ("instructions", "side", "dtype"),
    [(each, side, torch.bfloat16) for each in ("AMX", "AVX512") for side in SIDES]
    + [("AVX2", side, torch.float32) for side in (*SIDES, 16)],
)


@TAKEN
def test_it_is_the_same_every_time_and_without_gradients(
    instructions: str, side: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = take(monkeypatch, instructions)
    module = pair(256, 256)[0]
    count = convolution.FASTER[side, dtype].images
    images, gradient = torch.randn(count, 256, side, side), torch.randn(count, 256, side, side)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        with torch.inference_mode():
            before = module(images)
        module.zero_grad()
        first = [each.clone() for each in outcome(module, images, gradient)]
        module.zero_grad()
        second = outcome(module, images, gradient)
    assert len(ways) == 3
    assert torch.equal(before, first[0])
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@TAKEN
def test_layouts_are_torchs(instructions: str, side: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, instructions)
    images = torch.randn(convolution.FASTER[side, dtype].images, 256, side, side)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        for module in pair(256, 256):
            found = outcome(module, images, images)
            assert all(each.is_contiguous(memory_format=torch.channels_last) for each in found[:3])
    assert len(ways) == 1


def test_the_state_dict_is_torchs() -> None:
    ours, theirs = pair(3, 4)
    assert list(ours.state_dict()) == list(theirs.state_dict())
