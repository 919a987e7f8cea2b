"""From resident uint8 images to augmented, normalised batches, without workers, copies or hidden state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vgg_cifar import draws
from vgg_cifar.data.dataset import Split

Augment = Callable[[Tensor, Tensor, int], Tensor]
"""(uint8 images [n, 3, 32, 32], int64 indices [n], epoch) -> uint8 images of the same shape."""
Mix = Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""(float32 images [n, 3, 32, 32], others of the same shape, int64 indices [n], epoch) -> mixtures, and float32 [n], the
share of each that is of the first; or of 2n, the images and then their mixtures."""


class Batch(NamedTuple):
    """What one device sees at once.

    With RegMixup n is twice as many as the images of the data set that are in it: those, and then their mixtures.

    Attributes:
        images: float32 [n, 3, side, side], normalised, channels last in memory (or of a single image).
        labels: int64 [n].
        count: images of the data set that are in it, the first of the n; 0 for a stand-in that keeps a rank without
            images in step.
        total: images of the whole optimizer step, over all ranks and accumulated batches.
        parts: into how many such batches the step was divided.
        split: "train", "val" or "test".
        mixed_in: where images are mixtures, int64 [n], the labels of the second of the two; else None.
        own_share: where they are, float32 [n] in [0, 1], the share of the first, whose labels are `labels`; else None.
        start: of an evaluation's batch, the place of its first image in the split.
    """

    images: Tensor
    labels: Tensor
    count: int  # type: ignore[assignment]  # a tuple has a method of that name
    total: int
    parts: int
    split: str
    mixed_in: Tensor | None = None
    own_share: Tensor | None = None
    start: int = 0

    @property
    def share(self) -> float:
        """Weight of this batch's mean loss: the average over all parts of a step is then the mean over its images."""
        return self.count * self.parts / self.total

    @property
    def shapes(self) -> tuple[torch.Size | None, ...]:
        """Of each field that is a tensor: batches that have the same can take the same compiled step."""
        return tuple(each.shape if isinstance(each, Tensor) else None for each in self)


class _Part(NamedTuple):
    """Of a step, what one device sees at once."""

    indices: Tensor
    partners: Tensor
    count: int  # type: ignore[assignment]  # as above
    total: int


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
    images of a step nor a single draw. Where images are mixed, each one's partner is the image before it in the step,
    whichever part that belongs to.

    Args:
        images: the training set, on the device or in the host's memory.
        normalise: from pixels to what the network takes, on the device.
        batch_size: images per optimizer step, over all parts.
        seed: the run's.
        epoch: tells the epoch when one begins.
        augment: what happens to each image.
        mix: what happens to each pair of images.
        mixes: tells whether that happens, when an epoch begins.
        side: tells the side of the images, in pixels, when an epoch begins; None leaves them as they are.
        done: tells how many batches of the epoch were seen before, when one is gone on with.
        rank: of this process.
        world_size: processes in all.
        accumulate: batches per step and process.
        together: batches that are made at a time: all work on images is some hundred kernels, however few they are.
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
        mix: Mix | None = None,
        mixes: Callable[[], bool] = lambda: True,
        side: Callable[[], int] | None = None,
        done: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        together: int = 1,
    ) -> None:
        self.images = images
        self.normalise = normalise
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch
        self.augment = augment
        self.mix = mix
        self.mixes = mixes
        self.side = side
        self.done = done
        self.rank = rank
        self.world_size = world_size
        self.accumulate = accumulate
        self.together = together

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size) * self.accumulate

    def __iter__(self) -> Iterator[Batch]:
        yield from self.after(self.done())  # asked when the first batch is, not before

    def after(self, done: int) -> Iterator[Batch]:
        """The batches of the current epoch but for the first `done`."""
        epoch, side = self.epoch(), self.side() if self.side else None
        mix = self.mix if self.mixes() else None
        order = draws.order(len(self.images), self.seed, epoch, "order").to(self.images.images.device)
        steps = order.split(self.batch_size)
        for first in range(done, len(self), self.together):
            turns = range(first, min(first + self.together, len(self)))
            yield from self._batches(
                [self._part(steps[t // self.accumulate], t % self.accumulate) for t in turns], epoch, side, mix
            )

    def _part(self, step: Tensor, turn: int) -> _Part:
        parts = self.world_size * self.accumulate
        part = turn * self.world_size + self.rank
        before = step.roll(1)
        mine, partners = (each.tensor_split(parts)[part] for each in (step, before))
        return _Part(mine, partners, len(mine), len(step)) if len(mine) else _Part(step[:1], before[:1], 0, len(step))

    def _batches(self, made: list[_Part], epoch: int, side: int | None, mix: Mix | None) -> Iterator[Batch]:
        parts = self.world_size * self.accumulate
        sizes = [len(each.indices) for each in made]
        indices = torch.cat([each.indices for each in made])
        images, labels = self._pictures(indices, epoch), self.images.classes(indices)
        mixed_in = share = None
        if mix is not None:
            partners = torch.cat([each.partners for each in made])
            others = (
                torch.cat([each.roll(1, 0) for each in images.split(sizes)])
                if parts == 1
                else self._pictures(partners, epoch)
            )
            images, share = mix(images, others, indices.to(images.device, non_blocking=True), epoch)
            mixed_in = self.images.classes(partners)
            if len(images) > len(labels):  # as they are, and then mixed
                labels, mixed_in = labels.repeat(2), mixed_in.repeat(2)
        if side is not None and side != images.shape[-1]:
            images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
        none = [None] * len(made)
        dealt_images, dealt_labels, dealt_mixed_in, dealt_shares = (
            none if each is None else _dealt(each, sizes) for each in (images, labels, mixed_in, share)
        )
        for part, *tensors in zip(made, dealt_images, dealt_labels, dealt_mixed_in, dealt_shares, strict=True):
            shown, shown_labels, others_labels, own_share = tensors
            assert shown is not None
            assert shown_labels is not None
            yield Batch(shown, shown_labels, part.count, part.total, parts, "train", others_labels, own_share)

    def _pictures(self, indices: Tensor, epoch: int) -> Tensor:
        images = self.images.pictures(indices)
        if self.augment is not None:
            images = self.augment(images, indices.to(images.device, non_blocking=True), epoch)
        return self.normalise(images)


def _dealt(tensor: Tensor, sizes: list[int]) -> list[Tensor]:
    """The rows of each batch; of twice as many rows, a batch has its own of the first half and then of the second."""
    halves = [half.split(sizes) for half in tensor.split(sum(sizes))]
    return [torch.cat(rows) if len(rows) > 1 else rows[0] for rows in zip(*halves, strict=True)]


Alter = Callable[[Tensor, Tensor], Tensor]
"""(uint8 images [n, 3, 32, 32], int64 [n], their places in the split) -> uint8 images of the same shape."""


class EvalLoader:
    """Every image once, in order, as it is or altered in one fixed way.

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
        alter: Alter | None = None,
    ) -> None:
        self.images = images
        self.normalise = normalise
        self.batch_size = batch_size
        self.split = split
        self.alter = alter
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
            pictures, labels = self.images.pictures(chosen), self.images.labels[chosen]
            if self.alter is not None:
                places = torch.arange(chosen.start, chosen.stop, device=pictures.device)
                pictures = self.alter(pictures, places)
            yield Batch(self.normalise(pictures), labels, count, count or 1, 1, self.split, start=start)
