"""An evaluation on TensorBoard: figures, precision-recall curves, and the network's map of the images."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vgg_cifar.evaluation.findings import Findings

DIMENSIONS = 50
"""Of the map, before the projector makes three of them: principal components, so that it loads quickly."""


def write_dashboard(found: Findings, pictures: Mapping[str, Tensor], place: Path) -> None:
    """Write event files anew.

    Args:
        found: what to show.
        pictures: uint8 [3, h, w], by their names.
        place: the folder, emptied first.
    """
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(place, ignore_errors=True)
    writer = SummaryWriter(place)
    epoch = found.metrics["epoch"]
    for name, picture in pictures.items():
        writer.add_image(f"{found.split}/{name}", picture, epoch)
    _precision_and_recall(found, writer, epoch)
    if found.features is not None:
        features, places = found.features
        labels = found.scores.labels[places].tolist()
        said = found.scores.predicted[places].tolist()
        rows = [
            [
                found.classes[label],
                found.classes[each],
                *([found.superclass_names[label]] if found.superclass_names else []),
            ]
            for label, each in zip(labels, said, strict=True)
        ]
        names = ["class", "taken for", *(["superclass"] if found.superclass_names else [])]
        writer.add_embedding(
            _principal(features), rows, found.images.images[places].float() / 255, epoch, "features", names
        )
    writer.close()


def _precision_and_recall(found: Findings, writer: object, epoch: int) -> None:
    """A curve per superclass, or class where there are none: how probable it was thought, against whether it is."""
    superclass_of, probabilities, labels = found.dataset.superclass_of, found.scores.probabilities, found.scores.labels
    names = found.classes
    if superclass_of is not None:
        names = found.dataset.superclasses
        probabilities = torch.zeros(len(labels), len(names), dtype=torch.float64).index_add_(
            1, superclass_of, probabilities
        )
        labels = superclass_of[labels]
    for place, name in enumerate(names):
        writer.add_pr_curve(f"{found.split}/{name}", labels == place, probabilities[:, place], epoch)  # type: ignore[attr-defined]


def _principal(features: Tensor) -> Tensor:
    """Float32 [n, at most `DIMENSIONS`]: the features along the directions in which they differ most."""
    centred = features - features.mean(0)
    few = min(DIMENSIONS, *centred.shape)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    components: Tensor = centred @ directions[:few].T
    return components
