"""Parallel coordinates: a row per option, and a line per trial down through all of them.

Rows lie under each other, so that they have room for their names on a narrow screen as on a wide one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vgg_cifar.comparison.search import Choice, Range, Search, Trial, Value
from vgg_cifar.reporting.charts import bare, chart, scatter, shade, text
from vgg_cifar.reporting.formatting import objective, setting

MOST_ROWS = 12
"""Options in the picture; the table has them all."""
ROW = 78
"""Pixels."""
WORDS = 48
"""Letters that a row has room for on a narrow screen."""


@dataclass(frozen=True)
class _Row:
    """A scale from 0 to 1.

    Attributes:
        name: what it is of.
        places: of each trial; None where it has no such option.
        values: what a trial has there, as text.
        ticks: places, and what is there.
    """

    name: str
    places: list[float | None]
    values: list[str]
    ticks: list[tuple[float, str]]


def parallel(search: Search, best: Sequence[Trial]) -> dict[str, Any] | None:
    """The chart, or None where there is nothing to compare.

    Args:
        search: whose options these are.
        best: the trials to show, the best first.
    """
    if len(best) < 2 or not search.space:
        return None
    rows = [_of_option(name, search.space[name], best) for name in _ranked(search)[:MOST_ROWS]]
    rows.append(_of_objective(next(iter(search.objectives)), best))
    shades: dict[str, list[int]] = {}
    for place in range(len(best) - 1, 0, -1):
        shades.setdefault(shade(place, len(best)), []).append(place)
    drawn = [_lines(rows, best, members, colour, 1.5 if len(best) <= 60 else 1) for colour, members in shades.items()]
    scales = [
        {"type": "line", "x0": 0, "x1": 1, "y0": place, "y1": place, "layer": "below",
         "line": {"width": 1, "color": "var(--rule)"}}
        for place in range(len(rows))
    ]  # fmt: skip
    return chart(
        [*drawn, _lines(rows, best, [0], "var(--series-1)", 3)],
        bare(range=[-0.02, 1.02]),
        bare(range=[len(rows) - 0.55, -0.5]),
        height=ROW * len(rows) + 10,
        margin={"l": 8, "r": 8, "t": 4, "b": 4},
        shapes=scales,
        annotations=[note for place, row in enumerate(rows) for note in _notes(row, place)],
    )


def _ranked(search: Search) -> list[str]:
    """The options, those that matter most first."""
    shares = search.importance.get(next(iter(search.objectives)), {})
    return sorted(search.space, key=lambda name: -shares.get(name, 0))


def _of_option(name: str, span: Range, best: Sequence[Trial]) -> _Row:
    ticks = [(place, setting(value)) for place, value in _ticks(span)]
    most = max(4, WORDS // len(ticks))
    return _Row(
        name + (" (logarithmic)" if not isinstance(span, Choice) and span.log else ""),
        [_place(span, trial.params[name]) if name in trial.params else None for trial in best],
        [setting(trial.params[name]) if name in trial.params else "" for trial in best],
        [(place, each if len(each) <= most else f"{each[: most - 1]}…") for place, each in ticks],
    )


def _of_objective(name: str, best: Sequence[Trial]) -> _Row:
    values = [trial.values[0] for trial in best if trial.values]
    low, high = min(values), max(values)
    return _Row(
        name,
        [(value - low) / (high - low) if high > low else 0.5 for value in values],
        [objective(value, name) for value in values],
        [(0.0, objective(low, name)), (1.0, objective(high, name))] if high > low else [(0.5, objective(low, name))],
    )


def _place(span: Range, value: Value) -> float | None:
    """Where a value lies on its scale; None if it is none of it."""
    if isinstance(span, Choice):
        found = [place for place, each in enumerate(span.choices) if each == value and type(each) is type(value)]
        return _even(found[0], len(span.choices)) if found else None
    if isinstance(value, bool) or not isinstance(value, int | float) or (span.log and value <= 0):
        return None
    low, high, here = (math.log(each) if span.log else each for each in (span.low, span.high, value))
    return min(1.0, max(0.0, (here - low) / (high - low))) if high > low else 0.5


def _even(place: int, of: int) -> float:
    return place / (of - 1) if of > 1 else 0.5


def _ticks(span: Range) -> list[tuple[float, Value]]:
    """The ends and the middle of a range; of choices as many as there is room for."""
    if isinstance(span, Choice):
        every = -(-len(span.choices) // 6)
        return [(_even(place, len(span.choices)), each) for place, each in enumerate(span.choices) if not place % every]
    if span.low == span.high:
        return [(0.5, span.low)]
    middle = math.sqrt(span.low) * math.sqrt(span.high) if span.log else (span.low + span.high) / 2
    return [(0.0, span.low), (0.5, float(middle)), (1.0, span.high)]


def _lines(
    rows: Sequence[_Row], best: Sequence[Trial], members: Sequence[int], colour: str, width: float
) -> dict[str, Any]:
    """Some trials' lines as one trace, with a gap after each."""
    x: list[float | None] = []
    y: list[int | None] = []
    words: list[str] = []
    for member in members:
        trial = f"<b>trial {best[member].number}</b>"
        x += [*(row.places[member] for row in rows), None]
        y += [*range(len(rows)), None]
        words += [*(f"{trial}<br>{text(row.name, 60)}: {text(row.values[member], 60)}" for row in rows), ""]
    return scatter(
        x,
        y,
        words,
        mode="lines+markers",
        line={"width": width, "color": colour},
        marker={"size": 5 if width < 2 else 8, "color": colour},
    )


def _notes(row: _Row, place: int) -> list[dict[str, Any]]:
    """The name of a row over its left end, and its ticks under it."""
    common = {"y": place, "showarrow": False, "bgcolor": "var(--paper)", "borderpad": 1}
    name = common | {
        "x": 0, "xanchor": "left", "yshift": 14, "text": text(row.name, 60),
        "font": {"size": 12, "color": "var(--ink)"},
    }  # fmt: skip
    return [
        name,
        *(
            common | {
                "x": x, "xanchor": "left" if x < 0.01 else "right" if x > 0.99 else "center", "yshift": -14,
                "text": text(words), "font": {"size": 11, "color": "var(--soft)"},
            }
            for x, words in row.ticks
        ),
    ]  # fmt: skip
