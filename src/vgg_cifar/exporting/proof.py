"""Whether a file computes what the network does, and how fast."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from vgg_cifar.data.dataset import Split
from vgg_cifar.exporting.formats import Predict
from vgg_cifar.trained import Trained

BOUND = 1e-4
"""How far a probability may be from the network's own."""
BATCHES = (1, 100)
SINGLE = 20
"""Images that are also given one at a time."""
SECONDS = 0.5
"""Spent on each measurement of speed."""


@dataclass(frozen=True)
class Proof:
    """What a file made of test images, beside what the network made of them.

    Attributes:
        images: how many there were.
        difference: the largest between two probabilities of the same class and image, whatever the batch.
        same_top1: on how many images both name the same class first.
        top1: the file's accuracy.
        pytorch_top1: the network's.
    """

    images: int
    difference: float
    same_top1: int
    top1: float
    pytorch_top1: float

    def holds(self, bound: float) -> bool:
        """Whether the file is the network; not where a number is none."""
        return self.difference <= bound

    def as_dict(self, bound: float | None) -> dict[str, Any]:
        """For `export.json`."""
        return asdict(self) | {"bound": bound, "batches": list(BATCHES)}


@dataclass(frozen=True)
class Reference:
    """Test images, and what the network makes of them.

    Attributes:
        images: uint8 [n, 32, 32, 3].
        labels: int64 [n].
        probabilities: float32 [n, classes].
    """

    images: Tensor
    labels: Tensor
    probabilities: Tensor

    @classmethod
    def of(cls, trained: Trained, split: Split) -> Reference:
        """Ask the network."""
        images = pictures(split)
        return cls(images, split.labels, _in_batches(network_of(trained), images, BATCHES[-1]))


def network_of(trained: Trained) -> Predict:
    """The network itself, asked as a file is."""
    return lambda images: trained.probabilities(images.permute(0, 3, 1, 2))


def pictures(split: Split) -> Tensor:
    """Images as files take them: uint8 [n, 32, 32, 3]."""
    return split.images.permute(0, 2, 3, 1).contiguous()


def compare(predict: Predict, reference: Reference) -> Proof:
    """Ask a file for all images in large batches, and for the first ones singly."""
    expected, labels = reference.probabilities, reference.labels
    found = _in_batches(predict, reference.images, BATCHES[-1])
    singly = _in_batches(predict, reference.images[:SINGLE], 1)
    first, own = found.argmax(1), expected.argmax(1)
    return Proof(
        images=len(labels),
        difference=max(_distance(found, expected), _distance(singly, expected[:SINGLE])),
        same_top1=int((first == own).sum()),
        top1=float((first == labels).double().mean()),
        pytorch_top1=float((own == labels).double().mean()),
    )


def _in_batches(predict: Predict, images: Tensor, size: int) -> Tensor:
    return torch.cat([predict(part) for part in images.split(size)])


def _distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference; infinite where there is no number."""
    if found.shape != expected.shape:
        return math.inf
    return float((found - expected).abs().nan_to_num(math.inf).max())


def speed(predict: Predict) -> dict[str, float]:
    """Images per second by batch size: the median of half a second's calls, after a first one."""
    found = {}
    for size in BATCHES:
        images = torch.randint(256, (size, 32, 32, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
        predict(images)
        times: list[float] = []
        begun = time.perf_counter()
        while not times or time.perf_counter() - begun < SECONDS:
            start = time.perf_counter()
            predict(images)
            times.append(time.perf_counter() - start)
        found[str(size)] = round(size / median(times), 1)
    return found
