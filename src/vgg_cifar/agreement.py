"""Whether two runs of the same configuration came to the same: metrics, curves and weights, beside a yardstick."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist, stdev
from typing import Any

import torch
from torch import Tensor

from vgg_cifar.errors import UserError
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder

IDENTICAL, WITHIN_NOISE, OFF = "identical", "within seed noise", "off"
SPLITS = ("test/", "val/", "train/")
HEADLINE = "test/top1"
COUNTS = ("epochs", "steps", "tested_checkpoint", "tested_epoch")
TIMES = {"images_per_second"}
SHARE = 0.99
"""Of the differences that the yardstick explains, how many lie within a limit."""
FEWEST_SEEDS = 4


@dataclass(frozen=True)
class Metric:
    """A final metric of both runs.

    Attributes:
        then: a fraction or a loss; None where it is not recorded or was not finite.
        now: the same of the new run.
        limit: the largest difference that seed noise explains; None where the yardstick says nothing of this metric.
    """

    then: float | None
    now: float | None
    limit: float | None

    @property
    def difference(self) -> float | None:
        """Now minus then."""
        return None if self.then is None or self.now is None else self.now - self.then

    @property
    def explained(self) -> bool:
        """Whether the difference is within the limit."""
        return self.difference is not None and self.limit is not None and abs(self.difference) <= self.limit


@dataclass(frozen=True)
class Same:
    """How many of some things are the same to the last bit.

    Attributes:
        count: so many are.
        of: there are in either run.
        worst: of rows the first step that differs, of weights the largest difference.
    """

    count: int
    of: int
    worst: float | None = None

    @property
    def all(self) -> bool:
        """Whether all are."""
        return self.count == self.of


@dataclass(frozen=True)
class Agreement:
    """What a comparison found.

    Attributes:
        verdict: "identical", "within seed noise" or "off".
        metrics: the final ones, by their logged names.
        counts: what is counted or named and not measured, where it differs: then and now.
        curves: steps of `metrics.csv`.
        weights: tensors of the last checkpoint; None where the first run's is gone.
        yardstick: what the limits are; None where none is needed.
    """

    verdict: str
    metrics: dict[str, Metric]
    counts: dict[str, tuple[int | str | None, int | str | None]]
    curves: Same
    weights: Same | None
    yardstick: str | None

    def record(self) -> dict[str, Any]:
        """Plain data, for a file."""
        metrics = {name: asdict(metric) | {"difference": metric.difference} for name, metric in self.metrics.items()}
        return asdict(self) | {"metrics": metrics}


def compare(then: RunFolder, now: RunFolder, images: Mapping[str, int], seeds: Iterable[RunFolder]) -> Agreement:
    """Compare two finished runs of the same configuration.

    Args:
        then: the first.
        now: the one that should equal it.
        images: how many images each evaluated split, "val" and "test", has.
        seeds: finished runs that differ from the first in their seed alone; looked for only where needed.

    Raises:
        UserError: if the first one's files cannot be read.
    """
    before, after = then.read_result(), now.read_result()
    if _number(before.get(HEADLINE)) is None:
        raise UserError(f"{then.result} holds no {HEADLINE} to compare with")
    names = [name for split in SPLITS for name in after if name.startswith(split)]
    pairs = {name: (_number(before.get(name)), _number(after.get(name))) for name in names}
    counts = {
        name: (_plain(before.get(name)), _plain(after.get(name)))
        for name in COUNTS
        if name in before and before[name] != after.get(name)
    }
    curves, weights = _curves(then, now), _weights(then, now)
    equal = not counts and all(len(set(pairs[name])) == 1 for name in names if name in before) and curves.all
    if equal and (weights is None or weights.all):
        metrics = {name: Metric(*pair, None) for name, pair in pairs.items()}
        return Agreement(IDENTICAL, metrics, counts, curves, weights, None)
    others = [run.read_result() for run in seeds]
    if len(others) >= FEWEST_SEEDS:
        yardstick = f"{SHARE:.0%} of differences between seeds, from {len(others)} runs with other seeds beside it"
        limits = {name: _limit_by_seeds([_number(other.get(name)) for other in others]) for name in names}
    else:
        yardstick = (
            f"{SHARE:.0%} of differences between accuracies on so many independent images (binomial); what other "
            "seeds do was not measured, and losses are not judged"
        )
        limits = {
            name: limit_by_images(*pairs[name], images.get(name.partition("/")[0])) if "top" in name else None
            for name in names
        }
    metrics = {name: Metric(*pair, limits[name]) for name, pair in pairs.items()}
    judged = [metric for metric in metrics.values() if metric.limit is not None]
    # Where the same course came to other numbers, it is not the seed that makes them differ.
    same_course = curves.all if weights is None else weights.all
    noise = not same_course and metrics.get(HEADLINE) in judged and all(metric.explained for metric in judged)
    return Agreement(WITHIN_NOISE if noise else OFF, metrics, counts, curves, weights, yardstick)


def _number(value: Any) -> float | None:
    """A finite number of a size that a metric can have, or None."""
    return float(value) if type(value) in (int, float) and abs(value) < 2**63 else None


def _plain(value: Any) -> int | str | None:
    return value if isinstance(value, int | str) else None


def limit_by_images(then: float | None, now: float | None, images: int | None) -> float | None:
    """How far two accuracies on this many images lie apart by chance; None for what is no accuracy on them."""
    if then is None or now is None or not images:
        return None
    variance = sum(max(0.0, share * (1 - share)) / images for share in (then, now))
    return NormalDist().inv_cdf(0.5 + SHARE / 2) * math.sqrt(variance)


def _limit_by_seeds(values: list[float | None]) -> float | None:
    """How far two runs lie apart by chance, from some that are neither: an outlier would widen its own limit."""
    from scipy.special import stdtrit

    known = [value for value in values if value is not None]
    if len(known) < FEWEST_SEEDS:
        return None
    return float(stdtrit(len(known) - 1, 0.5 + SHARE / 2)) * math.sqrt(2) * stdev(known)


def _curves(then: RunFolder, now: RunFolder) -> Same:
    """The rows of `metrics.csv`, by step, in the columns that both have and that are no times."""
    before, after = _rows(then), _rows(now)
    both = _columns(before) & _columns(after) - TIMES

    def row(rows: dict[int, dict[str, str]], step: int) -> list[str | None] | None:
        return [rows[step].get(name) for name in both] if step in rows else None

    steps = sorted(before.keys() | after.keys())
    different = [step for step in steps if row(before, step) != row(after, step)]
    return Same(len(steps) - len(different), len(steps), different[0] if different else None)


def _rows(folder: RunFolder) -> dict[int, dict[str, str]]:
    """Each row's numbers as text, which says every bit of them and makes one NaN equal another."""
    try:
        return {int(row["step"]): {name: repr(value) for name, value in row.items()} for row in folder.read_metrics()}
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise UserError(f"{folder.metrics} is damaged: it is no table of numbers by step") from error


def _columns(rows: dict[int, dict[str, str]]) -> set[str]:
    return {name for row in rows.values() for name in row}


def _weights(then: RunFolder, now: RunFolder) -> Same | None:
    if not then.checkpoint("last").is_file():
        return None
    before, after = _tensors(then), _tensors(now)
    names = before.keys() | after.keys()
    same, largest = 0, 0.0
    for name in before.keys() & after.keys():
        one, other = before[name], after[name]
        if all(getattr(one, kind) == getattr(other, kind) for kind in ("dtype", "shape", "layout", "device")):
            same += torch.equal(_bits(one), _bits(other))
            largest = max(largest, float((one.double() - other.double()).abs().max()) if one.numel() else 0.0)
        else:
            largest = math.inf
    return Same(same, len(names), largest if math.isfinite(largest) else None)


def _tensors(folder: RunFolder) -> dict[str, Tensor]:
    """The weights that ship, and those being trained where they are others."""
    content = checkpoints.read(folder.checkpoint("last"))
    parts = {"state_dict": content.get("state_dict"), "trained_state_dict": content.get("trained_state_dict", {})}
    if not all(
        isinstance(each, dict) and all(isinstance(one, Tensor) for one in each.values()) for each in parts.values()
    ):
        raise UserError(f"{folder.checkpoint('last')} is damaged: it holds no weights")
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)
