"""The `distillation` group: whether a network also learns from what runs trained before make of the same images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vgg_cifar.errors import UserError
from vgg_cifar.options import Options, Positive
from vgg_cifar.runs.folder import RunFolder

TEACHERS = "distillation.teachers"


class NoDistillation(Options):
    """Training images are what their labels say."""

    name: Literal["none"]

    def refuse_missing_files(self) -> None:
        """There are none."""


class SoftTargets(Options):
    """Teachers' probabilities as targets beside the labels (Hinton et al., 2015).

    Of networks of the same kind this is self-distillation: "Born-Again Neural Networks" (Furlanello et al., 2018).
    """

    name: Literal["soft_targets"]
    teachers: Annotated[list[str], Field(min_length=1)]
    """Folders of the runs to learn from, by the checkpoints that they tested; of several, the mean counts."""
    weight: Annotated[float, Field(gt=0, le=1)]
    """Share of the loss that is about the teachers; the rest is about the labels."""
    temperature: Positive
    """What logits are divided by, the teachers' and the network's, before they are compared."""

    def refuse_missing_files(self) -> None:
        """See whether the teachers' runs are there.

        Raises:
            UserError: if one is not, or is not finished.
        """
        for path in self.teachers:
            teacher_folder(path)


def teacher_folder(path: str) -> RunFolder:
    """The folder of a run that may teach.

    Raises:
        UserError: if there is none.
    """
    folder = RunFolder.existing(path, TEACHERS)
    try:
        status = folder.read_result().get("status", "without a result")
    except UserError as error:
        raise UserError(f"{TEACHERS}: {folder.path}: {error}") from error
    if status != "finished":
        raise UserError(f"{TEACHERS}: {folder.path} is {status}; only a finished run teaches")
    return folder


DistillationOptions = Annotated[NoDistillation | SoftTargets, Field(discriminator="name")]
