"""The options that differ between runs, and those a reader would call the cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vgg_cifar.comparison.runs import Run
from vgg_cifar.config import is_beside_the_point
from vgg_cifar.spreadsheet import is_number

SEED = "seed"
ABSENT = "-"
"""Stands for an option that the choice in question does not have."""


def differing(runs: Sequence[Run]) -> list[str]:
    """Keys of the options that differ, in the order of the configuration, the seed left out.

    Where the choice of a group differs, its other options go without saying, unless they differ within one choice.
    """
    known = [run.options for run in runs if run.raw]
    found = []
    for key in dict.fromkeys(key for options in known for key in sorted(options, key=lambda key: _order(key, options))):
        if key == SEED or is_beside_the_point(key):
            continue
        name = f"{key.partition('.')[0]}.name"
        within: dict[str | None, set[str]] = {}
        for options in known:
            within.setdefault(options.get(name) if key != name else None, set()).add(options.get(key, ABSENT))
        if any(len(values) > 1 for values in within.values()):
            found.append(key)
    return found


def _order(key: str, options: Mapping[str, str]) -> tuple[int, bool, int]:
    """A group's choice before its options; all else as the configuration has it."""
    keys = list(options)
    group = key.partition(".")[0]
    first = next(place for place, each in enumerate(keys) if each.partition(".")[0] == group)
    return first, key != f"{group}.name", keys.index(key)


def of(run: Run, keys: Sequence[str]) -> dict[str, str]:
    """What a run has of some options, as text; of one without a configuration, what was typed."""
    return {key: run.options.get(key, ABSENT if run.raw else run.options.get(typed(key), "")) for key in keys}


def typed(key: str) -> str:
    """An option's name as a person types it: a group's choice by the group's name alone."""
    return key.removesuffix(".name")


def by_size(values: Sequence[str]) -> list[str]:
    """Values without repetition: numbers by size, then words as they came."""
    found = list(dict.fromkeys(values))
    return sorted(found, key=lambda text: (0, float(text)) if is_number(text) else (1, 0.0))
