"""What can be counted where answers and labels are known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vgg_cifar.evaluation import calibration
from vgg_cifar.evaluation.calibration import Reliability

TOP = 5
DIGITS = 10
"""Of a metric: as in a run's `result.json`."""


@dataclass(frozen=True)
class Scores:
    """How right some logits are.

    Attributes:
        labels: int64 [n].
        ranked: int64 [n, 5], the most probable classes, the most probable one first.
        probabilities: float64 [n, classes].
        losses: float32 [n], the cross-entropy of each image.
        confusion: int64 [classes, classes], images by class (row) and by what they were taken for (column).
        superclass_confusion: int64 [superclasses, superclasses], of the predicted classes' superclasses; or None.
    """

    labels: Tensor
    ranked: Tensor
    probabilities: Tensor
    losses: Tensor
    confusion: Tensor
    superclass_confusion: Tensor | None

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, superclass_of: Tensor | None = None) -> Scores:
        """Compare float32 logits [n, classes] with int64 labels [n]; `superclass_of` is int64 [classes]."""
        classes = logits.shape[1]
        ranked = logits.topk(min(TOP, classes), dim=1).indices
        losses = F.cross_entropy(logits, labels, reduction="none")
        coarse = None
        if superclass_of is not None:
            superclasses = int(superclass_of.max()) + 1
            coarse = _counted(superclass_of[labels], superclass_of[ranked[:, 0]], superclasses)
        probabilities = logits.double().softmax(1)
        return cls(labels, ranked, probabilities, losses, _counted(labels, ranked[:, 0], classes), coarse)

    @cached_property
    def predicted(self) -> Tensor:
        """int64 [n], the most probable class."""
        return self.ranked[:, 0]

    @cached_property
    def confidence(self) -> Tensor:
        """float64 [n], the probability of the predicted class."""
        return self.probabilities.gather(1, self.predicted[:, None])[:, 0]

    @cached_property
    def label_probability(self) -> Tensor:
        """float64 [n], the probability of the right class."""
        return self.probabilities.gather(1, self.labels[:, None])[:, 0]

    @cached_property
    def right(self) -> Tensor:
        """Bool [n]."""
        return self.predicted == self.labels

    @cached_property
    def mistakes(self) -> Tensor:
        """int64 [classes, classes], the confusion without what was right."""
        return self.confusion - self.confusion.diagonal().diag()

    @cached_property
    def images(self) -> Tensor:
        """int64 [classes], how many there are of each class."""
        return self.confusion.sum(1)

    @cached_property
    def precision(self) -> Tensor:
        """float64 [classes]: of what was taken for a class, the share that is it; 0 where nothing was."""
        return _share(self.confusion.diagonal(), self.confusion.sum(0))

    @cached_property
    def recall(self) -> Tensor:
        """float64 [classes]: of a class's images, the share that was recognised; 0 where there are none."""
        return _share(self.confusion.diagonal(), self.images)

    @cached_property
    def f1(self) -> Tensor:
        """float64 [classes]: the harmonic mean of precision and recall; 0 where both are."""
        return _share(2 * self.confusion.diagonal(), self.confusion.sum(0) + self.images)

    @cached_property
    def reliability(self) -> Reliability:
        """How far the confidences are true."""
        return calibration.reliability(self.confidence, self.right)

    def metrics(self) -> dict[str, float]:
        """The means over images, and over classes where they are called macro; as fractions, by name.

        Classes that neither occur nor were predicted are left out of the macro means, as scikit-learn does.
        """
        found = {
            "loss": self.losses.double().mean(),
            "top1": self.right.double().mean(),
            "top5": (self.ranked == self.labels[:, None]).any(1).double().mean(),
        }
        if self.superclass_confusion is not None:
            found["superclass_top1"] = self.superclass_confusion.diagonal().sum().double() / len(self.labels)
        there = self.confusion.sum(0) + self.images > 0
        for name in ("precision", "recall", "f1"):
            found[f"macro_{name}"] = getattr(self, name)[there].mean()
        found["ece"] = torch.tensor(self.reliability.error)
        return {name: round(float(value), DIGITS) for name, value in found.items()}

    def most_taken_for(self, label: int) -> tuple[int, int]:
        """What a class was most often taken for, and how often; the first class and 0 where it never was."""
        count, taken = self.mistakes[label].max(0)
        return int(taken), int(count)

    def confused(self, most: int) -> list[tuple[int, int, int]]:
        """The pairs (class, what it was taken for, images) that were most often confused, at most so many."""
        found = self.mistakes.flatten().sort(descending=True, stable=True)
        classes = len(self.mistakes)
        return [
            (int(place) // classes, int(place) % classes, int(count))
            for count, place in zip(found.values[:most], found.indices[:most], strict=True)
            if count
        ]


def _counted(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    return torch.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return part.double() / whole.clamp_min(1)
