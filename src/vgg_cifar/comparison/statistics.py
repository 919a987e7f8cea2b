"""What few values say of the mean they come from: Student's t, one sample or pairs, and many tests at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

SHARE = 0.95
"""Of such intervals, how many hold the mean that more and more seeds would come to."""
NO_SPREAD = 1e-12
"""A deviation below this is rounding: the values are the same, and say nothing of how others would scatter."""


@dataclass(frozen=True)
class Estimate:
    """A mean, and how well it is known.

    Attributes:
        values: what it is the mean of.
        mean: in the values' unit.
        deviation: of the sample; None for one value.
        half: half the width of the 95% interval around the mean; None where the values do not give one.
        p: how often a true mean of 0 would come out so far from 0 or farther; None as `half`.
    """

    values: tuple[float, ...]
    mean: float
    deviation: float | None
    half: float | None
    p: float | None

    @property
    def n(self) -> int:
        """How many values."""
        return len(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its ends."""
        return None if self.half is None else (self.mean - self.half, self.mean + self.half)


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean of some values with its interval by Student's t; of differences, p is that of the paired t-test.

    One value has no interval, nor have several that are all the same. None stands for no values.
    """
    from scipy.special import stdtr, stdtrit

    if not values:
        return None
    n, mean = len(values), fmean(values)
    deviation = stdev(values) if n > 1 else None
    if deviation is None or deviation < NO_SPREAD:
        return Estimate(tuple(values), mean, deviation, None, None)
    error = deviation / n**0.5
    half = float(stdtrit(n - 1, 0.5 + SHARE / 2)) * error
    return Estimate(tuple(values), mean, deviation, half, 2 * float(stdtr(n - 1, -abs(mean) / error)))


def paired(these: Mapping[str, float], those: Mapping[str, float]) -> Estimate | None:
    """The difference, these minus those, over the keys that both have."""
    return estimate([value - those[key] for key, value in these.items() if key in those])


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values as many tests at once allow them: no more than 5% of such families hold one below 0.05 by chance.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979). Those
    that are None are no tests.
    """
    adjusted: list[float | None] = [None] * len(values)
    known = sorted((value, place) for place, value in enumerate(values) if value is not None)
    largest = 0.0
    for rank, (value, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        adjusted[place] = largest
    return adjusted
