"""What one option is worth: pairs of runs that differ in it alone, whatever the others are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from vgg_cifar.comparison.groups import Group
from vgg_cifar.comparison.options import by_size, typed
from vgg_cifar.comparison.statistics import Estimate, estimate


@dataclass(frozen=True)
class Effect:
    """Going from one value of an option to another, everything else the same.

    Attributes:
        option: its key.
        before: the value compared with.
        after: the other value.
        change: of the metric, after minus before; a value per seed, the mean over its pairs. So the interval is one
            over seeds, and holds for these settings of the other options.
        pairs: runs compared.
        settings: of the other options, in which that was done.
    """

    option: str
    before: str
    after: str
    change: Estimate
    pairs: int
    settings: int

    @property
    def label(self) -> str:
        """`optimizer: sgd → adam`."""
        return f"{typed(self.option)}: {self.before} → {self.after}"


def effects(groups: Sequence[Group], keys: Sequence[str], base: Group | None, metric: str) -> list[Effect]:
    """The main effect of every option that differs alone between some groups.

    Args:
        groups: all of them.
        keys: of the options that differ.
        base: the group whose values are compared with; where it stands in no pair, the most frequent value.
        metric: what changes.
    """
    scores = {group.number: group.by_seed(metric) for group in groups}
    found = []
    for key in keys:
        settings: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
        for group in groups:
            if scores[group.number]:
                others = tuple(value for name, value in group.options.items() if name != key)
                settings[others][group.options[key]] = group.number
        alone = [values for values in settings.values() if len(values) > 1]
        frequent = Counter(value for values in alone for value in values)
        if not frequent:
            continue
        before = (
            base.options[key]
            if base is not None and base.options[key] in frequent
            else max(frequent, key=lambda value: frequent[value])
        )
        for after in by_size([value for value in frequent if value != before]):
            both = [values for values in alone if before in values and after in values]
            changes: dict[str, list[float]] = defaultdict(list)
            for values in both:
                those = scores[values[before]]
                for seed, score in scores[values[after]].items():
                    if seed in those:
                        changes[seed].append(score - those[seed])
            change = estimate([fmean(each) for each in changes.values()])
            if change is not None:
                found.append(Effect(key, before, after, change, sum(map(len, changes.values())), len(both)))
    return found
