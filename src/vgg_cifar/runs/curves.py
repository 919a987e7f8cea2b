"""A run's course by epoch, out of `metrics.csv`."""

from __future__ import annotations

import math

from vgg_cifar.runs.folder import RunFolder

OF_AN_EPOCH = ("train/loss", "train/top1", "val/loss", "val/top1", "test/loss", "test/top1", "images_per_second")


def by_epoch(folder: RunFolder) -> list[dict[str, float]]:
    """A row per epoch: its number from 1 and its metrics.

    Raises:
        UserError: if `metrics.csv` cannot be read.
    """
    rows: dict[int, dict[str, float]] = {}
    for row in folder.read_metrics():
        if "train/loss" in row and math.isfinite(row.get("epoch", math.nan)):
            epoch = int(row["epoch"]) + 1
            rows[epoch] = {"epoch": epoch} | {name: row[name] for name in OF_AN_EPOCH if name in row}
    return [rows[epoch] for epoch in sorted(rows)]
