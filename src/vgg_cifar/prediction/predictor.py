"""A trained network that answers for pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vgg_cifar import hardware
from vgg_cifar.errors import UserError
from vgg_cifar.prediction import images as pictures
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.trained import Trained, restore

One: TypeAlias = "str | Path | Image.Image | np.ndarray[Any, Any] | Tensor"
"""A file, a Pillow image, or an array or a tensor of one image or several: see `images.of_array`."""

LEAST = 16
"""Images computed at once; fewer are filled up, since small batches are convolved otherwise, by torch and by
`convolution.py`."""


@dataclass(frozen=True)
class Prediction:
    """What a network takes an image for.

    Attributes:
        classes: the names of all classes, the likeliest first.
        probabilities: theirs, from 0 to 1.
        superclass: of the likeliest class; None where classes have none.
    """

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    superclass: str | None = None

    def __repr__(self) -> str:
        """The likeliest class alone: the rest would fill a screen."""
        return f"Prediction({self.label!r}, {self.confidence:.1%})"

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.classes[0]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.probabilities[0]

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k likeliest classes, or all if there are fewer, each with its probability."""
        return list(zip(self.classes[:k], self.probabilities, strict=False))


class Predictor:
    """Answers with a run's network, for pictures of any kind (see `images` for what happens to them).

    It computes in float32 (no TF32, no bfloat16), whatever the run trained in: so that the answer is the same on every
    machine, up to rounding. An image's probabilities are the same to 1e-6 whatever batch it is in.

    Args:
        trained: the network, and the names of its classes.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for a GPU where there is one.

    Raises:
        UserError: if there is no such device.
    """

    def __init__(self, trained: Trained, device: str = "auto") -> None:
        self.trained = trained
        self.classes = trained.classes
        self.device = _device(device)
        trained.network.to(self.device)

    @classmethod
    def load(
        cls, run: str | Path, checkpoint: str | Path | None = None, device: str = "auto", allow: Sequence[str] = ()
    ) -> Predictor:
        """See `vgg_cifar.load`."""
        return cls(restore(RunFolder.existing(run, "run"), checkpoint, allow=allow), device)

    def superclass(self, name: str) -> str | None:
        """Of the class of this name; None where classes have none."""
        names = self.trained.superclass_names
        return names[self.classes.index(name)] if names else None

    def predict(self, images: One | Sequence[One], batch_size: int = 64) -> list[Prediction]:
        """What the network takes each image for.

        Args:
            images: one image, or a list of them; an array may hold several.
            batch_size: images computed at once.

        Raises:
            UserError: naming the first image that cannot be read, with the reason.
        """
        return [self._prediction(each) for each in self.probabilities(images, batch_size)]

    def probabilities(self, images: One | Sequence[One], batch_size: int = 64) -> Tensor:
        """The probability of each class, float32 [n, classes] on the CPU, in the order of `classes`.

        Raises:
            UserError: naming the first image that cannot be read, with the reason.
        """
        if batch_size < 1:
            raise UserError(f"batch_size: should be 1 or more, is {batch_size}")
        several = images if isinstance(images, Sequence) and not isinstance(images, str) else [images]
        found = [torch.empty(0, len(self.classes))]
        waiting: list[Tensor] = []
        for place, each in enumerate(several):
            waiting.extend(_pixels(each, f"image {place}"))
            while len(waiting) >= batch_size:
                found.append(self._batch(torch.stack(waiting[:batch_size])))
                del waiting[:batch_size]
        if waiting:
            found.append(self._batch(torch.stack(waiting)))
        return torch.cat(found)

    def _batch(self, images: Tensor) -> Tensor:
        """The probabilities float32 [n, classes] of uint8 [n, 3, 32, 32].

        Raises:
            RunError: if what the network computes is not finite.
        """
        count = len(images)
        if count < LEAST:
            images = torch.cat([images, images[:1].expand(LEAST - count, -1, -1, -1)])
        return self.trained.probabilities(images.to(self.device))[:count].cpu()

    def _prediction(self, probabilities: Tensor) -> Prediction:
        values, order = probabilities.sort(descending=True, stable=True)
        names = tuple(self.classes[place] for place in order.tolist())
        return Prediction(names, tuple(values.tolist()), self.superclass(names[0]))


def _pixels(image: One, what: str) -> Tensor:
    """Uint8 [n, 3, 32, 32] of a file, an image or an array.

    Raises:
        UserError: naming the file, or `what`, with the reason.
    """
    try:
        if isinstance(image, str | Path):
            what = str(image)
            return pictures.read(os.path.expanduser(image))[None]  # noqa: PTH111  # Path refuses a ~ of nobody
        if isinstance(image, Image.Image):
            return pictures.of_image(image)[None]
        if isinstance(image, np.ndarray | Tensor):
            return pictures.of_array(image)
    except pictures.UnreadableError as error:
        raise UserError(f"{what}: {error}") from error
    raise UserError(f"{what}: it is a {type(image).__name__}; a path, a Pillow image, an array or a tensor is taken")


def _device(name: str) -> torch.device:
    try:
        device = torch.device(hardware.accelerator("auto") if name == "auto" else name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch has no one word for it
        raise UserError(f"device: torch finds no {name} on this machine; use auto or cpu") from error
    return device
