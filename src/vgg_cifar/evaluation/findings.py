"""What an evaluation found, as those who write and draw it need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vgg_cifar.data.dataset import Dataset, Split
from vgg_cifar.evaluation.scores import Scores
from vgg_cifar.trained import Trained


@dataclass(frozen=True)
class Findings:
    """A network, or several whose probabilities are averaged, and what it says of some images.

    Attributes:
        members: the networks.
        split: "test" or "val".
        images: n of them, with their labels, on the CPU.
        dataset: they are from.
        scores: how right it is.
        temperature: by which dividing the logits makes validation images most probable; None where none were held out.
        calibrated: how right the logits divided by it are; None without, and on the very images it was fitted to.
        features: what the last layer gets to see of some images, float32 [m, features], and their places, int64 [m];
            None where there is no such layer.
        metrics: all numbers, as `metrics.json` has them.
    """

    members: list[Trained]
    split: str
    images: Split
    dataset: Dataset
    scores: Scores
    temperature: float | None
    calibrated: Scores | None
    features: tuple[Tensor, Tensor] | None
    metrics: dict[str, Any]

    @property
    def classes(self) -> list[str]:
        """A name per class."""
        return self.dataset.classes

    @property
    def run(self) -> str:
        """What to call it: the run's folder, or how many there are."""
        first, *others = (member.folder.path.name for member in self.members)
        return f"{len(self.members)} networks together" if others else first

    @property
    def superclass_names(self) -> list[str]:
        """Of each class, the name of its superclass; empty where there are none."""
        return self.dataset.superclass_names

    @property
    def by_superclass(self) -> list[int]:
        """The classes in the order of their superclasses, those of one beside each other; as they are without."""
        order = range(len(self.classes))
        if self.dataset.superclass_of is None:
            return list(order)
        superclass_of = self.dataset.superclass_of.tolist()
        return sorted(order, key=lambda place: (superclass_of[place], place))
