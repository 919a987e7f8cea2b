"""VGG16-BN on CIFAR-100 with PyTorch Lightning and Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from vgg_cifar.prediction.predictor import Predictor

__version__ = "0.1.0"


def load(
    run: str | Path, checkpoint: str | Path | None = None, device: str = "auto", allow: Sequence[str] = ()
) -> Predictor:
    """A run's network, to be asked about pictures: `vgg_cifar.load(folder).predict("cat.jpg")[0].label`.

    The run's folder is enough: its checkpoint knows the names of the classes (but for a run from before it did, which
    needs its images).

    Args:
        run: its folder.
        checkpoint: "best", "last", "epoch_N" or a file; None takes the one that the run itself tested.
        device: "cpu", "cuda", "mps" or "auto".
        allow: packages whose classes the run's configuration may name, as in `src/train.py allow=[...]`.

    Raises:
        UserError: if there is no such run, checkpoint or device.
    """
    from vgg_cifar.command_line import quiet, register_resolvers

    quiet()
    register_resolvers()
    from vgg_cifar.prediction.predictor import Predictor

    return Predictor.load(run, checkpoint, device, allow)
