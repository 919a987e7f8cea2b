"""Runs that are equal but for their seed, and how each such group compares with one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vgg_cifar.comparison.options import of, typed
from vgg_cifar.comparison.runs import Run
from vgg_cifar.comparison.statistics import Estimate, estimate, holm, paired
from vgg_cifar.composition import differences_from_defaults
from vgg_cifar.config import is_beside_the_point
from vgg_cifar.errors import UserError

COSTS = ("train_seconds", "total_seconds", "images_per_second")


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed.

    Attributes:
        number: from 1, in the order of the runs.
        options: what it has of the options that differ between groups.
        runs: all of them, finished or not.
        counted: one finished run per seed, the first: the same seed again is no further evidence.
        scores: by metric, its mean over the counted runs; without the metrics that none has.
        costs: by name, the same of seconds and images per second.
        difference: of the metric in question, this group minus the baseline, by seed; None without a common seed.
        p: of that difference, adjusted for as many groups as there are (Holm); None where there is no test.
    """

    number: int
    options: dict[str, str]
    runs: tuple[Run, ...]
    counted: tuple[Run, ...]
    scores: dict[str, Estimate]
    costs: dict[str, Estimate]
    difference: Estimate | None = None
    p: float | None = None

    @property
    def label(self) -> str:
        """What sets it apart, as it is typed; empty where nothing does."""
        return ", ".join(f"{typed(key)}={value}" for key, value in self.options.items())

    def by_seed(self, metric: str) -> dict[str, float]:
        """The metric of each counted run that has it."""
        found = {str(run.seed): run.number_of(metric) for run in self.counted}
        return {seed: value for seed, value in found.items() if value is not None}


def grouped(runs: Sequence[Run], keys: Sequence[str], metrics: Sequence[str]) -> list[Group]:
    """Groups of the runs that have a configuration, in the order of their first runs.

    Args:
        runs: all of them.
        keys: of the options that differ.
        metrics: to take means of.
    """
    members: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if run.raw:
            members.setdefault(tuple(of(run, keys).values()), []).append(run)
    return [
        _group(number, dict(zip(keys, values, strict=True)), found, metrics)
        for number, (values, found) in enumerate(members.items(), start=1)
    ]


def _group(number: int, options: dict[str, str], runs: list[Run], metrics: Sequence[str]) -> Group:
    first: dict[str | None, Run] = {}
    for run in runs:
        if run.finished:
            first.setdefault(run.seed, run)
    counted = tuple(first.values())

    def means(names: Sequence[str]) -> dict[str, Estimate]:
        values = {name: [each for run in counted if (each := run.number_of(name)) is not None] for name in names}
        found = {name: estimate(each) for name, each in values.items()}
        return {name: each for name, each in found.items() if each is not None}

    return Group(number, options, tuple(runs), counted, means(metrics), means(COSTS))


def baseline(groups: Sequence[Group], asked: str | None) -> Group | None:
    """The group that the others are compared with.

    Args:
        groups: all of them.
        asked: a group's number, or overrides that fit one, like `optimizer=sgd,augmentation=none`; None takes the one
            with the fewest options that are not as by default, the first of several.

    Raises:
        UserError: if what was asked for fits no group, or several.
    """
    if asked is None:
        with_numbers = [group for group in groups if group.counted] or groups
        return min(with_numbers, key=_unusual, default=None)
    wanted = [each.strip() for each in re.split(r",(?![^\[\]]*\])", asked) if each.strip()]
    if asked.strip().isdecimal():
        fitting = [group for group in groups if group.number == int(asked)]
    else:
        fitting = [group for group in groups if wanted and set(wanted) <= _said(group)]
    if len(fitting) != 1:
        known = "; ".join(f"{group.number}: {group.label or 'all runs'}" for group in (fitting or groups)[:4])
        more = "; ..." if len(fitting or groups) > 4 else ""
        raise UserError(f"baseline: {asked} fits {len(fitting) or 'no'} group{'s' * (len(fitting) > 1)}; {known}{more}")
    return fitting[0]


def _said(group: Group) -> set[str]:
    """All the ways to say what a group has."""
    options = group.options.items()
    return {f"{key}={value}" for key, value in options} | {f"{typed(key)}={value}" for key, value in options}


def _unusual(group: Group) -> int:
    return sum(not is_beside_the_point(key) for key in differences_from_defaults(group.runs[0].raw))


def against(groups: Sequence[Group], base: Group | None, metric: str) -> list[Group]:
    """The groups with their differences from the baseline; runs are paired by seed, since those share what it draws."""
    if base is None:
        return list(groups)
    those = base.by_seed(metric)
    found = [None if group is base else paired(group.by_seed(metric), those) for group in groups]
    adjusted = holm([None if each is None else each.p for each in found])
    return [
        replace(group, difference=difference, p=p) for group, difference, p in zip(groups, found, adjusted, strict=True)
    ]
