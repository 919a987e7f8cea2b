"""TensorBoard's side of a run: the charts people look for, some augmented images."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torchvision.utils import make_grid

from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.runs.custom_scalars import custom_scalars
from vgg_cifar.runs.folder import RunFolder

WRITER = "tensorboard.summary.writer.event_file_writer"


@contextmanager
def writing_threads_are_quiet() -> Iterator[None]:
    """Within this block, keep the tracebacks of TensorBoard's writing threads from the screen.

    What ended one is raised where the next event is written, and answered there.
    """
    before = threading.excepthook

    def tell(ended: threading.ExceptHookArgs) -> None:
        if type(ended.thread).__module__ != WRITER:
            before(ended)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = before


class Dashboard(TensorBoardLogger):
    """Lightning's logger, writing into the run's `tensorboard/`.

    Args:
        folder: the run's.
        after_step: the last step whose points stay, when a run goes on.

    Attributes:
        takes_details: curves that no other logger is given come here too.
    """

    takes_details = True

    def __init__(self, folder: RunFolder, after_step: int = -1) -> None:
        super().__init__(
            folder.path,
            name="",
            version=folder.tensorboard.name,
            default_hp_metric=False,
            purge_step=after_step + 1 if any(folder.tensorboard.glob("*")) else None,
        )

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # type: ignore[override]
        """Write scalars; the epoch, which Lightning adds to all of them, is no curve to look at."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    @rank_zero_only
    def save(self) -> None:
        """Write pending events; the hyperparameters are in `config.yaml` already."""
        self.experiment.flush()

    @rank_zero_only
    def describe(self, datamodule: DataModule, images: int) -> None:
        """Write what does not change while the run goes on, with so many augmented training images."""
        writer = self.experiment
        shown = "test" if datamodule.val is None else "val"
        writer.add_custom_scalars(custom_scalars(datamodule.dataset.superclasses, shown))
        if images:
            indices = torch.arange(min(images, len(datamodule.train)))
            shown_images = datamodule.train.images[indices]
            if datamodule.augment is not None:
                shown_images = datamodule.augment(shown_images, indices, 0)
            writer.add_image("augmented training images", make_grid(shown_images, nrow=8, padding=1), 0)
        writer.flush()
