"""Learning curves of a group: by epoch, the mean over its seeds and how far they reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from vgg_cifar.comparison.groups import Group
from vgg_cifar.errors import UserError
from vgg_cifar.runs.curves import by_epoch

CURVES = ("val/top1", "train/loss", "val/loss", "test/top1")


@dataclass(frozen=True)
class Curve:
    """A metric of a group by epoch.

    Attributes:
        epochs: from 1.
        mean: over the runs that have come so far.
        low: the lowest of them.
        high: the highest.
        runs: how many, by epoch.
    """

    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    runs: tuple[int, ...]


def curves(group: Group) -> tuple[dict[str, Curve], list[str]]:
    """The curves of a group's counted runs, by metric, or of all its runs while none is finished.

    Returns:
        Also a line for each run whose `metrics.csv` cannot be read.
    """
    values: dict[str, dict[int, list[float]]] = {name: {} for name in CURVES}
    faults = []
    for run in group.counted or group.runs:
        try:
            rows = [] if run.folder.metrics.is_symlink() else by_epoch(run.folder)
        except (UserError, RecursionError) as error:
            faults.append(f"run {run.number}: {error}")
            continue
        for row in rows:
            for name in CURVES:
                if abs(row.get(name, float("inf"))) < 2**63:
                    values[name].setdefault(int(row["epoch"]), []).append(row[name])
    return {name: _curve(found) for name, found in values.items() if found}, faults


def _curve(values: dict[int, Sequence[float]] | dict[int, list[float]]) -> Curve:
    epochs = sorted(values)
    columns = [values[epoch] for epoch in epochs]
    return Curve(
        tuple(epochs),
        tuple(map(fmean, columns)),
        tuple(map(min, columns)),
        tuple(map(max, columns)),
        tuple(map(len, columns)),
    )
