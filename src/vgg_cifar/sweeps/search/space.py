"""What is searched, in Hydra's own way of writing values: `a,b`, `range(...)`, `interval(...)`, `tag(log, ...)`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vgg_cifar.comparison.search import Choice, FloatRange, IntRange
from vgg_cifar.errors import UserError
from vgg_cifar.overrides import parse

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override, RangeSweep
    from optuna.distributions import BaseDistribution

Range = FloatRange | IntRange | Choice
LOG = {"log"}
MOST_CHOICES = 1000


class Space:
    """The options that a search varies, and how.

    Args:
        overrides: what was typed; those with one value only are the same in every trial.

    Raises:
        UserError: if nothing is varied, or something in a way that no search can.
    """

    def __init__(self, overrides: list[str]) -> None:
        self.fixed: list[str] = []
        self.dimensions: dict[str, Range] = {}
        self._typed_as: dict[str, str] = {}
        for override in parse(overrides):
            line, key = str(override.input_line), override.key_or_group
            if not override.is_sweep_override():
                self.fixed.append(line)
                continue
            if key == "seed":
                raise UserError("seed: is not searched; hydra.sweeper.seeds_per_trial=N runs every trial with N seeds")
            if key in self.dimensions:
                raise UserError(f"{key}: is searched twice")
            self.dimensions[key] = _dimension(override)
            self._typed_as[key] = override.get_key_element()
        if not self.dimensions:
            raise UserError(
                "hydra/sweeper=optuna: nothing is searched; give an option several values, as "
                "'optimizer.lr=tag(log,interval(1e-3,1))' or optimizer=sgd,adam"
            )

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """What to type for a trial.

        Args:
            values: of each dimension, by its key.
        """
        return [f"{self._typed_as[key]}={_spelled(values[key])}" for key in self.dimensions]

    def varies(self, override: str) -> bool:
        """Whether an override, as it is typed for a trial, is of something that is searched."""
        return override.partition("=")[0] in self._typed_as.values()

    def label(self, values: Mapping[str, Any]) -> str:
        """The same, as short as a person needs it."""
        short = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in values.items()}
        return " ".join(self.overrides(short))

    def corners(self) -> Iterator[list[str]]:
        """Overrides that together have every choice, and both ends of every interval."""
        first = {key: next(_ends(dimension)) for key, dimension in self.dimensions.items()}
        yield [*self.fixed, *self.overrides(first)]
        for key, dimension in self.dimensions.items():
            for value in list(_ends(dimension))[1:]:
                yield [*self.fixed, *self.overrides(first | {key: value})]

    def distributions(self) -> dict[str, BaseDistribution]:
        """As Optuna has them."""
        return {key: _distribution(dimension) for key, dimension in self.dimensions.items()}


def _dimension(override: Override) -> Range:
    from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, RangeSweep

    key, line, swept = override.key_or_group, str(override.input_line), override.value()
    if isinstance(swept, Glob):
        raise UserError(f"{line}: a search needs the names; write them out: {key}=...,...")
    tags = set(swept.tags) if isinstance(swept, ChoiceSweep | RangeSweep | IntervalSweep) else set()
    if tags - LOG or (tags and isinstance(swept, ChoiceSweep)):
        raise UserError(f"{line}: only intervals and ranges take a tag, and only log")
    log = bool(tags)
    if isinstance(swept, IntervalSweep):
        assert swept.start is not None
        assert swept.end is not None
        low, high = swept.start, swept.end
        step: float | None = 1 if isinstance(low, int) and isinstance(high, int) and not log else None
    elif isinstance(swept, RangeSweep):
        low, high, step = _of_range(swept, line)
        if log and (step != 1 or not isinstance(low, int)):
            raise UserError(f"{line}: on a logarithmic scale there are no steps; take interval(...)")
        step = None if log else step
    else:
        values = list(override.sweep_string_iterator())
        if len(values) > MOST_CHOICES or len(set(values)) < len(values):
            raise UserError(f"{line}: should be at most {MOST_CHOICES} values, each once")
        return Choice(choices=list(values))
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (log and low <= 0):
        least = ", the first above 0" if log else ""
        raise UserError(f"{line}: should go from a number to a larger one{least}")
    if isinstance(low, int) and isinstance(high, int):
        return IntRange(low=low, high=high, log=log, step=None if step is None else int(step))
    return FloatRange(low=float(low), high=float(high), log=log, step=step)


def _of_range(swept: RangeSweep, line: str) -> tuple[float, float, float]:
    """First, last and step of a range that goes upwards."""
    start, stop, step = swept.start, swept.stop, swept.step
    assert start is not None
    assert stop is not None
    steps = math.ceil((stop - start) / step - 1e-9) - 1 if step > 0 and math.isfinite(stop - start) else 0
    if steps < 1:
        raise UserError(f"{line}: should go up by at least one step")
    if not all(isinstance(each, int) for each in (start, step)):
        start, step = float(start), float(step)
    return start, start + steps * step, step


def _ends(dimension: Range) -> Iterator[Any]:
    yield from dimension.choices if isinstance(dimension, Choice) else (dimension.low, dimension.high)


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _distribution(dimension: Range) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.choices)
    if isinstance(dimension, IntRange):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step or 1)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
