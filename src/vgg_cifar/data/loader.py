"""From resident uint8 images to augmented, normalised batches, without workers, copies or hidden state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vgg_cifar import draws
from vgg_cifar.data.dataset import Split

Augment = Callable[[Tensor, Tensor, int], Tensor]
"""(uint8 images [n, 3, 32, 32], int64 indices [n], epoch) -> uint8 images of the same shape."""


class Batch(NamedTuple):
    """What one device sees at once.

    Attributes:
        images: float32 [n, 3, 32, 32], normalised, channels last in memory.
        labels: int64 [n].
        count: how many of the n images count: n, or 0 for a stand-in that keeps a rank without images in step.
        total: images of the whole optimizer step, over all ranks and accumulated batches.
        parts: into how many such batches the step was divided.
        split: "train", "val" or "test".
    """

    images: Tensor
    labels: Tensor
    count: int  # type: ignore[assignment]  # a tuple has a method of that name
    total: int
    parts: int
    split: str

    @property
    def share(self) -> float:
        """Weight of this batch's mean loss: the average over all parts of a step is then the mean over its images."""
        return self.count * self.parts / self.total


@dataclass(frozen=True)
class Normalise:
    """(x / 255 - mean) / std per channel, as one multiplication and one addition."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, mean: list[float], std: list[float], device: torch.device) -> Normalise:
        """Constants on the given device, shaped [1, 3, 1, 1]."""
        m = torch.tensor(mean, device=device).reshape(1, 3, 1, 1)
        s = torch.tensor(std, device=device).reshape(1, 3, 1, 1)
        return cls(scale=1 / (255 * s), shift=-m / s)

    def __call__(self, images: Tensor) -> Tensor:
        """Turn uint8 [n, 3, 32, 32] into float32, channels last."""
        pixels = images.to(torch.float32, memory_format=torch.channels_last)
        # Written out for all pixels of an image, the constants are read in one go with them.
        scale, shift = (
            each.expand(-1, -1, *images.shape[2:]).contiguous(memory_format=torch.channels_last)
            for each in (self.scale, self.shift)
        )
        return pixels.mul_(scale).add_(shift)


class TrainLoader:
    """Every image once per epoch, in a seeded order, augmented by its own draws.

    Each optimizer step takes `batch_size` images of the global order (the last one of an epoch what is left) and deals
    them out as evenly as possible to `world_size * accumulate` parts. Which rank computes a part changes neither the
    images of a step nor a single draw.
    """

    def __init__(
        self,
        images: Split,
        normalise: Normalise,
        *,
        batch_size: int,
        seed: int,
        epoch: Callable[[], int],
        augment: Augment | None = None,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        self.images = images
        self.normalise = normalise
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch
        self.augment = augment
        self.rank = rank
        self.world_size = world_size
        self.accumulate = accumulate

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size) * self.accumulate

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch()
        order = draws.order(len(self.images), self.seed, epoch, "order").to(self.images.labels.device)
        parts = self.world_size * self.accumulate
        for step in order.split(self.batch_size):
            dealt = step.tensor_split(parts)
            for turn in range(self.accumulate):
                mine = dealt[turn * self.world_size + self.rank]
                count = len(mine)
                indices = mine if count else step[:1]
                images = self.images.images[indices]
                if self.augment is not None:
                    images = self.augment(images, indices, epoch)
                yield Batch(self.normalise(images), self.images.labels[indices], count, len(step), parts, "train")


class EvalLoader:
    """Every image once, unaltered, in order.

    Batches are never divided: rank r takes every `world_size`-th one. What the network computes for a batch is then the
    same on any number of devices, and no image is counted twice.
    """

    def __init__(
        self,
        images: Split,
        normalise: Normalise,
        *,
        batch_size: int,
        split: str,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images = images
        self.normalise = normalise
        self.batch_size = batch_size
        self.split = split
        self.rank = rank
        self.world_size = world_size
        self.reads = 0
        """How often somebody began to read these images."""

    def __len__(self) -> int:
        return math.ceil(len(self.images) / (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[Batch]:
        self.reads += 1
        for turn in range(len(self)):
            start = (turn * self.world_size + self.rank) * self.batch_size
            end = min(start + self.batch_size, len(self.images))
            count = max(end - start, 0)
            chosen = slice(start, end) if count else slice(0, 1)
            labels = self.images.labels[chosen]
            yield Batch(self.normalise(self.images.images[chosen]), labels, count, count or 1, 1, self.split)
