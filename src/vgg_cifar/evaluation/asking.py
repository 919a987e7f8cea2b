"""Several networks asked as one, with a bar that says for how long yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from vgg_cifar.data.dataset import Split
from vgg_cifar.data.loader import Alter
from vgg_cifar.errors import UserError
from vgg_cifar.evaluation.inference import Inference
from vgg_cifar.trained import Trained


class Asking:
    """Asks networks about images; of several, and over several views, the probabilities are averaged.

    Args:
        members: the networks.
        devices: GPUs, or processes on a CPU.

    Raises:
        UserError: see `Inference`.
    """

    def __init__(self, members: Sequence[Trained], devices: int) -> None:
        self.inferences = [Inference(member, devices) for member in members]
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(),
            console=console, transient=True, disable=not (console.is_terminal and self.first),
        )  # fmt: skip

    @property
    def first(self) -> bool:
        """Whether this process is the one that tells of what was found."""
        return self.inferences[0].first

    def __enter__(self) -> Asking:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def each(self, images: Split, name: str, alter: Alter | None = None) -> list[Tensor]:
        """Float32 [n, classes] on the CPU, the logits of every network.

        Args:
            images: n of them.
            name: of the split they are from, "test" or "val".
            alter: what happens to each image before.
        """
        return [inference.logits(images, name, alter) for inference in self.inferences]

    def counted(self, images: Split, name: str) -> Split:
        """Those images of a split that the runs themselves evaluate, whose batches may be limited.

        Raises:
            UserError: if that is not the same for all.
        """
        counts = {inference.counted(name, images) for inference in self.inferences}
        if len(counts) > 1:
            left = " and ".join(f"{count:,}" for count in sorted(counts))
            raise UserError(
                f"run: trainer.limit_{name}_batches leaves {left} images; "
                "only runs with the same images can be asked together"
            )
        return images.take(torch.arange(counts.pop()))

    def watched(self, what: str, passes: Sequence[Alter | None]) -> Iterable[Alter | None]:
        """The same passes, with a bar that moves on with each."""
        return self._bar.track(passes, total=len(passes), description=what)


def together(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean probabilities, float32 [n, classes]; a single one's logits as they are."""
    if len(logits) == 1:
        return logits[0]
    return (
        torch.stack([each.double().log_softmax(1) for each in logits])
        .logsumexp(0)
        .sub(torch.tensor(len(logits)).log())
        .float()
    )
