"""The convolution: torch's, or a faster way where images are small and channels are many."""

import pytest
import torch
from convolved import outcome, pair
from torch import Tensor

from vgg_cifar import convolution
from vgg_cifar.convolution import Conv2d, faster

KINDS = pytest.mark.parametrize("instructions", ["AMX", "AVX512", "AVX2"])
SIDES = (2, 4, 8)
HALF, SINGLE = torch.bfloat16, torch.float32
COUNT = 32


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
        ("AVX512", 2, HALF, 64, 4, "minimal_filtering"),
        ("AVX512", 4, HALF, 128, 16, "minimal_filtering"),
        ("AVX512", 8, HALF, 256, 4, "minimal_filtering"),
        ("AVX512", 2, SINGLE, 64, 4, "minimal_filtering"),
        ("AMX", 2, HALF, 64, 4, "minimal_filtering"),
        ("AMX", 4, HALF, 128, 16, "minimal_filtering"),
        ("AMX", 8, HALF, 128, 4, "side_by_side"),
        ("AMX", 2, SINGLE, 64, 4, "minimal_filtering"),
        ("AVX2", 2, SINGLE, 64, 4, "minimal_filtering"),
        ("AVX2", 4, SINGLE, 64, 32, "minimal_filtering"),
        ("AVX2", 8, SINGLE, 64, 8, "minimal_filtering"),
        ("AVX2", 16, SINGLE, 64, 8, "minimal_filtering"),
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
    assert module.to("meta")(torch.zeros(COUNT, 256, 8, 8, device="meta").bfloat16()).shape == (COUNT, 256, 8, 8)
    assert not ways


@KINDS
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 4), (3, 3), (5, 5), (6, 6)])
def test_other_images_are_torchs(shape: tuple[int, int], instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, instructions)
    images, gradient = torch.randn(COUNT, 256, *shape), torch.randn(COUNT, 256, *shape)
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
        Conv2d(64, 64)(torch.zeros(COUNT, 64, side, side))
    assert [shape[-1] for _, shape in ways] == ([4, 8, 16] if instructions == "AVX2" else [])


@KINDS
def test_bfloat16_is_torchs_beyond_eight_by_eight_pixels(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, instructions)
    Conv2d(256, 256).bfloat16()(torch.zeros(4, 256, 16, 16, dtype=HALF))
    assert not ways


@KINDS
@pytest.mark.parametrize("side", SIDES)
def test_under_autocast_types_are_torchs(side: int, instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = take(monkeypatch, instructions)
    images, gradient = torch.randn(COUNT, 256, side, side), torch.randn(COUNT, 256, side, side)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (outcome(module, images, gradient) for module in pair(256, 256))
    assert ways
    assert [each.dtype for each in found] == [each.dtype for each in expected]
    assert found[0].dtype == torch.bfloat16
    for mine, right in zip(found, expected, strict=True):
        assert (mine - right).norm() < 0.05 * right.norm()


TAKEN = pytest.mark.parametrize(
    ("instructions", "side", "dtype"),
    [(each, side, HALF) for each in ("AMX", "AVX512") for side in SIDES]
    + [("AVX2", side, SINGLE) for side in (*SIDES, 16)],
)


@TAKEN
def test_it_is_the_same_every_time_and_without_gradients(
    instructions: str, side: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = take(monkeypatch, instructions)
    module = pair(256, 256)[0]
    images, gradient = torch.randn(COUNT, 256, side, side), torch.randn(COUNT, 256, side, side)
    with torch.autocast("cpu", HALF, enabled=dtype == HALF):
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
    images = torch.randn(COUNT, 256, side, side).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", HALF, enabled=dtype == HALF):
        for module in pair(256, 256):
            found = outcome(module, images, images)
            assert all(each.is_contiguous(memory_format=torch.channels_last) for each in found[:3])
    assert len(ways) == 1


def test_the_state_dict_is_torchs() -> None:
    ours, theirs = pair(3, 4)
    assert list(ours.state_dict()) == list(theirs.state_dict())
