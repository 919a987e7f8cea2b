"""The charts of an evaluation's page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from vgg_cifar.evaluation.calibration import BINS, Reliability, bins_of
from vgg_cifar.evaluation.corruptions import GROUPS
from vgg_cifar.evaluation.findings import Findings
from vgg_cifar.reporting.charts import SHADES, axis, chart, counted, scatter, text
from vgg_cifar.reporting.formatting import is_share, score, words
from vgg_cifar.runs.curves import by_epoch
from vgg_cifar.runs.folder import RunFolder

SPLITS = {"train": "training", "val": "validation", "test": "test"}
DARKER = [
    [0, "var(--paper)"],
    [0.001, "var(--shade-0)"],
    *([place / SHADES, f"var(--shade-{place})"] for place in range(1, SHADES - 1)),
    [1, f"var(--shade-{SHADES - 1})"],
]
"""From nothing to much."""
ABOVE = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
"""Where a legend is."""


def evaluation_charts(found: Findings) -> dict[str, dict[str, Any]]:
    """All charts for which there are numbers, by their names."""
    made: dict[str, dict[str, Any] | None] = {
        "confusion": confusion(found),
        "reliability": reliability(found),
        "confidence": confidence(found),
    }
    if len(found.members) == 1:
        folder = found.members[0].folder
        made |= {f"curve-{name}": curve(folder, name) for name in ("loss", "top1")}
    if "corruptions" in found.metrics:
        made["corruptions"] = corruptions(found.metrics["corruptions"])
    return {name: each for name, each in made.items() if each is not None}


def curve(folder: RunFolder, name: str) -> dict[str, Any] | None:
    """Training, validation and test by epoch in one chart; where the test set was read at the end alone, as a dot."""
    rows, result = by_epoch(folder), folder.read_result()
    if not rows:
        return None
    data = []
    for place, (split, said) in enumerate(SPLITS.items()):
        metric, colour = f"{split}/{name}", f"var(--series-{place})"
        points = [(row["epoch"], row[metric]) for row in rows if math.isfinite(row.get(metric, math.nan))]
        mode = "lines+markers"
        if (
            not points
            and split == "test"
            and isinstance(result.get(metric), float)
            and isinstance(result.get("tested_epoch"), int)
        ):
            points, mode = [(result["tested_epoch"], result[metric])], "markers"
        if points:
            x, y = zip(*points, strict=True)
            hover = [f"{said}, epoch {epoch:.0f}: {score(value, metric)}" for epoch, value in points]
            size = 9 if mode == "markers" else 4
            data.append(
                scatter(x, y, hover, mode=mode, name=said, line={"color": colour, "width": 2},
                        marker={"color": colour, "size": size})
            )  # fmt: skip
    form = ".3~%" if is_share(name) else ".3~g"
    epochs = counted("epoch", int(max(row["epoch"] for row in rows)))
    upwards = axis("top-1" if name == "top1" else name, tickformat=form)
    return chart(data, epochs, upwards, height=320, showlegend=True, legend=ABOVE)


def confusion(found: Findings) -> dict[str, Any]:
    """Every class against what it was taken for; the page's choices pick what is shown of it."""
    order = found.by_superclass
    fine = found.scores.confusion[order][:, order]
    names = [text(words(found.classes[place]), 30) for place in order]
    traces = _two(fine, names)
    blocks = _blocks(found, order)
    ticks = _block_ticks(blocks) if blocks else {"tickvals": list(range(len(names))), "ticktext": names}
    edges = [end - 0.5 for _, _, end in blocks[:-1]]
    views: dict[str, Any] = {
        "classes": {"traces": [0, 1], "layout": {"xaxis": ticks, "yaxis": ticks, "shapes": _lines(edges, len(names))}}
    }
    if found.scores.superclass_confusion is not None:
        superclasses = [text(words(name), 30) for name in found.dataset.superclasses]
        traces += _two(found.scores.superclass_confusion, superclasses)
        whole = [-0.5, len(superclasses) - 0.5]
        every = {
            "tickvals": list(range(len(superclasses))),
            "ticktext": superclasses,
            "range": whole,
        }
        views["superclasses"] = {
            "traces": [2, 3],
            "layout": {"xaxis": every, "yaxis": every | {"range": whole[::-1]}, "shapes": []},
        }
        for place, (_, start, end) in enumerate(blocks):
            rows = {
                "tickvals": list(range(start, end)),
                "ticktext": names[start:end],
                "range": [end - 0.5, start - 0.5],
            }
            lines = [_line(edge, start, end) for edge in edges]
            views[f"superclass-{place}"] = {
                "traces": [0, 1], "layout": {"yaxis": rows, "xaxis": ticks, "shapes": lines, "height": 420},
            }  # fmt: skip
    common = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    size = len(names)
    drawn = chart(
        traces,
        axis("taken for", range=[-0.5, size - 0.5], tickangle=-60, **common) | ticks,
        axis("", range=[size - 0.5, -0.5], **common) | ticks,
        height=900,
    )
    for side in ("xaxis", "yaxis"):
        drawn["layout"][side]["tickfont"] = {"size": 11}
    cells = {
        "mistakes": {"traces": [1, 3][: len(traces) // 2]},
        "all": {"traces": [0, 2][: len(traces) // 2]},
    }
    small = {"tickfont": {"size": 8}}
    return drawn | {
        "narrow": {"height": 520, "xaxis": small, "yaxis": small},
        "choices": {"confusion-of": views, "confusion-cells": cells},
    }


def reliability(found: Findings) -> dict[str, Any]:
    """Accuracy by confidence: where both are the same, on the diagonal, confidence can be believed."""
    width = 1 / BINS
    data: list[dict[str, Any]] = [
        {
            "type": "bar", "x": [(place + 0.5) * width for place in range(BINS)], "width": width * 0.94,
            "y": [share if count else None for share, count in _bins(found.scores.reliability)],
            "text": _said(found.scores.reliability), "hovertemplate": "%{text}<extra></extra>", "textposition": "none",
            "marker": {"color": "var(--shade-3)"}, "name": "as it is",
        },
        scatter([0, 1], [0, 1], [], mode="lines", line={"dash": "dot", "color": "var(--soft)", "width": 1.5},
                name="perfect"),
    ]  # fmt: skip
    if found.calibrated is not None:
        after = found.calibrated.reliability
        there = after.count > 0
        data.append(
            scatter(after.confidence[there].tolist(), after.accuracy[there].tolist(),
                    [said for said, count in zip(_said(after), after.count, strict=True) if count],
                    mode="lines+markers", name="with temperature",
                    line={"color": "var(--series-1)", "width": 2}, marker={"color": "var(--series-1)", "size": 6})
        )  # fmt: skip
    return chart(data, _shares("confidence"), _shares("right"), height=340, showlegend=True, legend=ABOVE)


def confidence(found: Findings) -> dict[str, Any]:
    """How many answers are how confident, right ones and mistakes."""
    bins = bins_of(found.scores.confidence)
    data = []
    for what, chosen, colour in (("right", found.scores.right, "var(--series-0)"),
                                  ("mistakes", ~found.scores.right, "var(--series-1)")):  # fmt: skip
        counts = torch.bincount(bins[chosen], minlength=BINS).tolist()
        said = [f"{count:,} {what}, confidence {_span(place)}" for place, count in enumerate(counts)]
        data.append({
            "type": "bar", "x": [(place + 0.5) / BINS for place in range(BINS)], "y": counts, "name": what,
            "text": said, "hovertemplate": "%{text}<extra></extra>", "textposition": "none",
            "marker": {"color": colour},
        })  # fmt: skip
    return chart(
        data, _shares("confidence"), axis("images"), height=340, barmode="stack", showlegend=True, legend=ABOVE
    )


def corruptions(found: dict[str, Any]) -> dict[str, Any]:
    """The share of right answers by severity, a line per kind of corruption."""
    data = []
    for place, (group, names) in enumerate(GROUPS.items()):
        means = [sum(column) / len(names) for column in zip(*(found["top1"][name] for name in names), strict=True)]
        y = [found["clean_top1"], *means]
        said = [f"{group}, severity {severity}: {value:.2%}" for severity, value in enumerate(y)]
        colour = f"var(--series-{place})"
        data.append(scatter(range(len(y)), y, said, mode="lines+markers", name=group,
                            line={"color": colour, "width": 2}, marker={"color": colour, "size": 6}))  # fmt: skip
    return chart(data, counted("severity (0: as they are)", 5), axis("top-1", tickformat=".3~%", rangemode="tozero"),
                 height=340, showlegend=True, legend=ABOVE)  # fmt: skip


def _shares(title: str) -> dict[str, Any]:
    """An axis from 0% to 100%, with room for the last tick."""
    return axis(title, range=[0, 1.002], dtick=0.2, tickformat=".0%")


def _two(counts: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
    """Two heat maps of the same counts, with and without the right answers; the root lets small ones be seen."""
    mistakes = counts - counts.diagonal().diag()
    return [
        {
            "type": "heatmap", "z": each.sqrt().mul(100).round().div(100).tolist(), "customdata": each.tolist(),
            "x": list(range(len(names))), "y": list(range(len(names))), "xgap": 0.5, "ygap": 0.5,
            "hovertemplate": "%{text}: %{customdata}<extra></extra>", "colorscale": DARKER, "showscale": False,
            "zmin": 0, "zmax": float(each.max().sqrt().clamp_min(1)), "meta": {"pairs": list(names)},
        }
        for each in (counts.double(), mistakes.double())
    ]  # fmt: skip


def _blocks(found: Findings, order: Sequence[int]) -> list[tuple[str, int, int]]:
    """Superclasses with the first and after the last of their places in an order of classes."""
    names = [found.superclass_names[place] for place in order] if found.superclass_names else []
    starts = [place for place, name in enumerate(names) if place == 0 or names[place - 1] != name]
    return [(names[start], start, end) for start, end in pairwise([*starts, len(names)])]


def _block_ticks(blocks: Sequence[tuple[str, int, int]]) -> dict[str, Any]:
    return {
        "tickvals": [(start + end - 1) / 2 for _, start, end in blocks],
        "ticktext": [text(words(name), 30) for name, _, _ in blocks],
    }


def _lines(edges: Sequence[float], size: int) -> list[dict[str, Any]]:
    """Between superclasses, across and down."""
    across = [{"type": "line", "x0": -0.5, "x1": size - 0.5, "y0": edge, "y1": edge, "line": _thin()} for edge in edges]
    return across + [_line(edge, 0, size) for edge in edges]


def _line(edge: float, start: int, end: int) -> dict[str, Any]:
    return {"type": "line", "x0": edge, "x1": edge, "y0": start - 0.5, "y1": end - 0.5, "line": _thin()}


def _thin() -> dict[str, Any]:
    return {"color": "var(--grid)", "width": 1}


def _bins(curve: Reliability) -> list[tuple[float, int]]:
    return list(zip(curve.accuracy.tolist(), curve.count.tolist(), strict=True))


def _span(place: int) -> str:
    return f"{place / BINS:.0%} to {(place + 1) / BINS:.0%}"


def _said(curve: Reliability) -> list[str]:
    columns = [column.tolist() for column in (curve.count, curve.confidence, curve.accuracy)]
    return [
        f"confidence {_span(place)}: {count:,} images<br>mean confidence {mean:.1%}, right {share:.1%}" if count else ""
        for place, (count, mean, share) in enumerate(zip(*columns, strict=True))
    ]
