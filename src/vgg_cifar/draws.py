"""Randomness as a function: every draw depends only on (seed, epoch, image index, what it is for).

So the order of images and each augmentation are the same on one device or eight, and after any resume: there is no
generator whose state could differ. The mixing function is the 32-bit integer hash `lowbias32` (C. Wellons, "Prospecting
for Hash Functions", 2018), applied twice with two keys.
"""

import hashlib

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


def order(count: int, *parts: int | str) -> Tensor:
    """int64 [count]: a permutation of `range(count)`, made on the CPU so that every device sees the same one."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(key(*parts)))
