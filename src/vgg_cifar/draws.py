"""Randomness as a function: every draw depends only on (seed, epoch, image index, what it is for).

So the order of images and each augmentation are the same on one device or eight, and after any resume: there is no
generator whose state could differ. The mixing function is the 32-bit integer hash `lowbias32` (C. Wellons, "Prospecting
for Hash Functions", 2018), applied twice with two keys.
"""

import hashlib
from functools import cache

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


def key(*parts: int | str) -> int:
    """A 63-bit number from integers and words: a seed for `torch.manual_seed` or a key of `bits`."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def _lowbias32(x: Tensor) -> Tensor:
    x = (x ^ (x >> 16)) * 0x7FEB352D & _MASK
    x = (x ^ (x >> 15)) * 0x846CA68B & _MASK  # int64 products may wrap: the low 32 bits stay right
    return x ^ (x >> 16)


def bits(indices: Tensor, *parts: int | str) -> Tensor:
    """32 random bits for each image.

    Args:
        indices: int64 [n], which images; the answer for an image does not depend on its neighbours.
        parts: what the draw belongs to, for example `(seed, epoch, "flip")`.

    Returns:
        int64 [n] in [0, 2**32).
    """
    low = key(*parts)
    return _lowbias32(_lowbias32(indices & _MASK ^ low & _MASK) ^ low >> 32)


def uniform(indices: Tensor, *parts: int | str) -> Tensor:
    """float32 [n] in [0, 1), in steps of 2**-24."""
    return (bits(indices, *parts) >> 8).to(torch.float32) * 2.0**-24


def integers(indices: Tensor, count: int, *parts: int | str) -> Tensor:
    """int64 [n] in [0, count), for a count far below 2**31."""
    return bits(indices, *parts) * count >> 32


def coin(indices: Tensor, *parts: int | str) -> Tensor:
    """Bool [n], true for half of the images."""
    return bits(indices, *parts) >= 1 << 31


def beta(indices: Tensor, alpha: float, *parts: int | str) -> Tensor:
    """float32 [n] in [0, 1], distributed as Beta(alpha, alpha), by inversion of a tabulated distribution."""
    places, shares = _lower_half_of_beta(alpha, indices.device)
    drawn = uniform(indices, *parts)
    wanted = 2 * torch.minimum(drawn, 1 - drawn)
    above = torch.searchsorted(shares, wanted).clamp(1, len(shares) - 1)
    below = above - 1
    step = (shares[above] - shares[below]).clamp_min(1e-30)  # a large alpha's first ones are 0 in float32
    low = torch.lerp(places[below], places[above], (wanted - shares[below]) / step)
    # With AVX2 the float32 power of one number may differ from that among several; Apple's GPUs have no float64.
    low = ((low if low.device.type == "mps" else low.double()) ** (1 / min(alpha, 1.0))).float()
    return torch.where(drawn < 0.5, low, 1 - low)


@cache
def _lower_half_of_beta(alpha: float, device: torch.device, points: int = 2049) -> tuple[Tensor, Tensor]:
    """x**min(alpha, 1) for x in [0, 1/2], whose density is smooth where x's is not; the share of that half below x."""
    power = min(alpha, 1.0)
    places = torch.linspace(0, 0.5**power, points, dtype=torch.float64)
    x = places ** (1 / power)
    below = torch.cumulative_trapezoid(x ** (alpha - power) * (1 - x) ** (alpha - 1), places)
    below = torch.cat([below.new_zeros(1), below / below[-1]])
    return places.float().to(device), below.float().to(device)


def order(count: int, *parts: int | str) -> Tensor:
    """int64 [count]: a permutation of `range(count)`, made on the CPU so that every device sees the same one."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(key(*parts)))
