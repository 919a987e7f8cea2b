"""The `distillation` group: whether a network also learns from what runs trained before make of the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vgg_cifar.errors import UserError
from vgg_cifar.options import Options, Positive, spelled

if TYPE_CHECKING:
    from vgg_cifar.data.dataset import Dataset
    from vgg_cifar.data.options import DataOptions
    from vgg_cifar.teachers import Teachers
    from vgg_cifar.trained import Trained

SEEN_ALIKE = ("mean", "std")
"""Options of `data` by which a network sees an image."""
HELD_OUT = ("train_size", "val_fraction", "seed")
"""Options of `data` that say which training images are held out."""


class NoDistillation(Options):
    """Training images are what their labels say."""

    name: Literal["none"]

    def build(self, data: DataOptions, dataset: Dataset) -> Teachers | None:
        """Nobody to ask."""
        return None


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

    def build(self, data: DataOptions, dataset: Dataset) -> Teachers:
        """The teachers, with the weights that they have now.

        Args:
            data: the options of the images to learn from.
            dataset: those images.

        Raises:
            UserError: if there is no such run, or it knows other classes, sees images differently, or has learned from
                what is held out now.
        """
        from vgg_cifar.runs import checkpoints
        from vgg_cifar.runs.folder import RunFolder
        from vgg_cifar.teachers import Teachers
        from vgg_cifar.trained import restore

        trained = [restore(RunFolder.existing(path, "distillation.teachers")) for path in self.teachers]
        for each in trained:
            _check(each, data, dataset)
        sources = {str(each.folder.path): checkpoints.checksum(each.file) for each in trained}
        return Teachers([each.network for each in trained], self.weight, self.temperature, sources)


def _check(teacher: Trained, data: DataOptions, dataset: Dataset) -> None:
    where = f"distillation.teachers: {teacher.folder.path}"
    if teacher.classes != dataset.classes:
        raise UserError(f"{where} knows other classes; name runs on the same data")
    if teacher.folder.read_manifest().get("data") != dataset.hashes:
        raise UserError(f"{where} learned from other images (their checksums differ); name runs on the same data")
    alike = (*SEEN_ALIKE, *(HELD_OUT if data.val_fraction else ()))
    for option in alike:
        its, own = getattr(teacher.config.data, option), getattr(data, option)
        if its != own:
            why = "knows held-out images" if option in HELD_OUT else "sees images differently"
            raise UserError(
                f"{where} {why}: its data.{option} is {spelled(its)}, not {spelled(own)}; "
                "make them the same, or name another run"
            )


DistillationOptions = Annotated[NoDistillation | SoftTargets, Field(discriminator="name")]
