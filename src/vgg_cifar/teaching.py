"""Finished runs as teachers: found in their folders, and refused where they know too much or something else."""

from __future__ import annotations

from vgg_cifar.config import Config
from vgg_cifar.data.dataset import Dataset
from vgg_cifar.data.options import DataOptions
from vgg_cifar.distillation import TEACHERS, SoftTargets, teacher_folder
from vgg_cifar.errors import UserError
from vgg_cifar.options import spelled
from vgg_cifar.runs import checkpoints
from vgg_cifar.teachers import Source, Teachers
from vgg_cifar.trained import Trained, restore

SEEN_ALIKE = ("mean", "std")
"""Options of `data` by which a network sees an image."""
HELD_OUT = ("train_size", "val_fraction", "seed")
"""Options of `data` that say which training images are held out."""


def find_teachers(config: Config, dataset: Dataset) -> Teachers | None:
    """Those whom a run learns from, with the weights that they have now; None where it has only labels.

    Args:
        config: of the run.
        dataset: its images.

    Raises:
        UserError: if there is no such finished run, or it knows other classes, sees images differently, or has not held
            out what is held out now.
    """
    distillation = config.distillation
    if not isinstance(distillation, SoftTargets):
        return None
    found = [_restored(path) for path in distillation.teachers]
    for teacher, hashes, _ in found:
        check(teacher, hashes, config.data, dataset)
    networks, sources = [teacher.network for teacher, *_ in found], [source for *_, source in found]
    return Teachers(networks, distillation.weight, distillation.temperature, sources)


def _restored(path: str) -> tuple[Trained, object, Source]:
    """A network, the checksums of what it learned from, and where it is."""
    folder = teacher_folder(path)
    try:
        teacher, manifest = restore(folder), folder.read_manifest()
    except UserError as error:
        raise UserError(f"{TEACHERS}: {folder.path}: {error}") from error
    source = Source(str(folder.path), checkpoints.checksum(teacher.file))
    return teacher, manifest.get("data"), source


def check(teacher: Trained, hashes: object, data: DataOptions, dataset: Dataset) -> None:
    """Refuse a teacher of anything but the images to learn from, or of such as are held out.

    Args:
        teacher: a run's network.
        hashes: the checksums of the files that it learned from.
        data: the options of the images to learn from.
        dataset: those images.

    Raises:
        UserError: saying what differs.
    """
    where = f"{TEACHERS}: {teacher.folder.path}"
    if teacher.classes != dataset.classes:
        raise UserError(f"{where} knows other classes; name runs on the same data")
    if hashes != dataset.hashes:
        raise UserError(f"{where} learned from other images, by their checksums; name runs on the same data")
    for options, why in ((SEEN_ALIKE, "sees images differently"), (HELD_OUT, "held out other images")):
        for option in options if options is SEEN_ALIKE or data.val_fraction else ():
            its, own = getattr(teacher.config.data, option), getattr(data, option)
            if its != own:
                raise UserError(
                    f"{where} {why}: its data.{option} is {spelled(its)}, not {spelled(own)}; "
                    "make them the same, or name another run"
                )
