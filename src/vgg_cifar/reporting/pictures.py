"""The charts of a comparison."""

from __future__ import annotations

from typing import Any

from vgg_cifar.comparison import Comparison
from vgg_cifar.comparison.comparison import is_loss
from vgg_cifar.comparison.curves import CURVES, Curve
from vgg_cifar.comparison.groups import Group
from vgg_cifar.comparison.runs import Run
from vgg_cifar.comparison.statistics import Estimate
from vgg_cifar.reporting.charts import DASHES, axis, chart, colour, counted, rows, scatter, text
from vgg_cifar.reporting.formatting import change, duration, margin, score

MOST_ROWS = 40
"""Groups in one picture; the table has them all."""


def pictures(found: Comparison) -> dict[str, dict[str, Any]]:
    """All charts for which there are numbers, by their names; those of curves are called `curve-` and the metric.

    A search has its own, see `trial_pictures`: of these only what they do not tell.
    """
    made = {"results": _results(found), "effects": _effects(found)} if found.in_groups else {}
    if found.search is None or "train_seconds" not in found.search.objectives:
        made |= {"cost": _cost(found)}
    made |= {f"curve-{name.replace('/', '-')}": _curves(found, name) for name in CURVES}
    return {name: each for name, each in made.items() if each is not None}


def series(found: Comparison) -> dict[int, int]:
    """The place of each group among the colours, by its number; the curves' groups come first."""
    return {group.number: place for place, group in enumerate(found.groups)}


def _name(group: Group) -> str:
    return group.label or "all runs"


def _run(run: Run, metric: str) -> str:
    return f"run {run.number}, seed {text(str(run.seed), 20)}: {score(run.number_of(metric), metric)}"


def _estimate(estimate: Estimate, metric: str) -> str:
    if estimate.half is None:
        return "no interval: " + ("one value" if estimate.n == 1 else "the values are all the same")
    return f"{margin(estimate, metric)}, from {estimate.n} seeds"


def _results(found: Comparison) -> dict[str, Any] | None:
    groups = [group for group in found.groups if found.metric in group.scores][:MOST_ROWS]
    if not groups:
        return None
    place, metric = series(found), found.metric
    scores = [group.scores[metric] for group in groups]
    return rows(
        [_name(group) + (" (baseline)" if group is found.base else "") for group in groups],
        [(each.mean, each.half) for each in scores],
        [
            f"<b>{text(_name(group), 90)}</b><br>{score(each.mean, metric)} {_estimate(each, metric)}"
            for group, each in zip(groups, scores, strict=True)
        ],
        [colour(place[group.number]) for group in groups],
        [_points(group, metric) for group in groups],
        metric,
        found.base.scores[metric].mean if found.base is not None and metric in found.base.scores else None,
        _form(metric),
    )


def _points(group: Group, metric: str) -> tuple[list[float], list[str]]:
    runs = [(value, run) for run in group.counted if (value := run.number_of(metric)) is not None]
    if len(runs) == 1:
        return [], []  # the mean is that very dot
    return [value for value, _ in runs], [_run(run, metric) for _, run in runs]


def _effects(found: Comparison) -> dict[str, Any] | None:
    effects = found.effects[:MOST_ROWS]
    if not effects:
        return None
    scale = 1 if is_loss(found.metric) else 100
    unit = "" if is_loss(found.metric) else ", percentage points"
    return rows(
        [each.label for each in effects],
        [(scale * each.change.mean, scale * each.change.half if each.change.half else None) for each in effects],
        [
            f"<b>{text(each.label, 90)}</b><br>{change(each.change.mean, found.metric)} "
            f"{_estimate(each.change, found.metric)}<br>{each.pairs} pairs, {each.settings} settings of the rest"
            for each in effects
        ],
        ["var(--series-0)"] * len(effects),
        [
            (
                [scale * value for value in each.change.values] if each.change.n > 1 else [],
                ["mean of one seed"] * each.change.n if each.change.n > 1 else [],
            )
            for each in effects
        ],
        f"change of {found.metric}{unit}",
        0,
        "+.3~g",
    )


def _cost(found: Comparison) -> dict[str, Any] | None:
    data, metric = [], found.metric
    for place, group in enumerate(found.groups):
        runs = [run for run in group.counted if None not in (run.number_of(metric), run.number_of("train_seconds"))]
        if runs:
            seconds = [run.number_of("train_seconds") or 0.0 for run in runs]
            said = [
                f"<b>{text(_name(group), 90)}</b><br>{_run(run, metric)}<br>trained {duration(spent)}"
                for run, spent in zip(runs, seconds, strict=True)
            ]
            look = {"color": colour(place), "symbol": place % 8} if found.in_groups else {"color": "var(--series-0)"}
            marker = {"size": 10, "opacity": 0.85, **look}
            values = [run.number_of(metric) for run in runs]
            data.append(scatter(seconds, values, said, meta=group.number, marker=marker))
    if not data:
        return None
    return chart(
        data,
        axis("seconds of training", rangemode="tozero", tickformat="~r", nticks=7),
        axis(metric, tickformat=_form(metric), nticks=7),
        height=380,
    )


def _curves(found: Comparison, name: str) -> dict[str, Any] | None:
    data, longest = [], 0
    for place, group in enumerate(found.groups):
        curve = found.curves.get(group.number, {}).get(name)
        if curve is not None:
            data += _curve(curve, name, group, place)
            longest = max(longest, *curve.epochs)
    if not data:
        return None
    return chart(
        data,
        counted("epoch", longest, rangemode="tozero"),
        axis(tickformat=_form(name), nticks=6, zeroline=False),
        height=290,
        margin={"l": 8, "r": 12, "t": 8, "b": 44},
    )


def _curve(curve: Curve, name: str, group: Group, place: int) -> list[dict[str, Any]]:
    """The band from the lowest to the highest seed, where there are several, and the mean."""
    made: list[dict[str, Any]] = []
    if max(curve.runs) > 1:
        made.append(
            scatter(
                [*curve.epochs, *reversed(curve.epochs)],
                [*curve.high, *reversed(curve.low)],
                [],
                mode="lines",
                meta=group.number,
                fill="toself",
                opacity=0.28,
                line={"width": 0, "color": colour(place)},
            )
        )
    said = [
        f"<b>{text(_name(group), 90)}</b><br>epoch {epoch}: {score(mean, name)}"
        + (f"<br>{score(low, name)} to {score(high, name)}, {runs} runs" if runs > 1 else "")
        for epoch, mean, low, high, runs in zip(
            curve.epochs, curve.mean, curve.low, curve.high, curve.runs, strict=True
        )
    ]
    made.append(
        scatter(
            curve.epochs,
            curve.mean,
            said,
            mode="lines+markers" if len(curve.epochs) < 25 else "lines",
            meta=group.number,
            marker={"size": 4, "color": colour(place)},
            line={"width": 2, "color": colour(place), "dash": DASHES[place % len(DASHES)]},
        )
    )
    return made


def _form(metric: str) -> str:
    return "~g" if is_loss(metric) else "~%"
