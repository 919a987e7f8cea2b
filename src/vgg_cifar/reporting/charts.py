"""Charts as plain data for plotly, in colours that the page's theme decides.

A colour is the name of one of the page's own, like `var(--ink)`; the page's script puts in what that is at the moment.
Plotly takes some HTML in every text: each text that comes from outside goes through `text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SERIES = 8
"""Colours that a reader can tell apart, also a colour-blind one (after Okabe and Ito), and dashes beside them."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")
SHADES = 6
"""Of one colour, from the worst to the best, see `style.css`."""
ROW = 54
"""Pixels per row of a chart of rows."""


def text(words: str, most: int = 200) -> str:
    """A text that plotly shows as it is: no markup, no more than fits."""
    words = words if len(words) <= most else f"{words[: most - 1]}…"
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        words = words.replace(sign, entity)
    return words


def colour(series: int | None) -> str:
    """The colour of a series, from 0; of those beyond the palette, and None, a grey."""
    return f"var(--series-{series})" if series is not None and series < SERIES else "var(--faint)"


def shade(place: int, of: int) -> str:
    """The colour of what has a place from 0, the best, among so many."""
    return f"var(--shade-{SHADES - 1 - place * SHADES // of})"


def scatter(x: Sequence[Any], y: Sequence[Any], words: Sequence[str], **more: Any) -> dict[str, Any]:
    """Marks, or lines, over two axes.

    Args:
        x: of each.
        y: of each.
        words: what each says, safe for plotly; none if they say nothing.
        more: what else plotly should know.
    """
    hover = {"text": list(words), "hovertemplate": "%{text}<extra></extra>"} if words else {"hoverinfo": "skip"}
    return {"type": "scatter", "mode": "markers", "x": list(x), "y": list(y), **hover, **more}


def axis(title: str = "", **options: Any) -> dict[str, Any]:
    """An axis with few, faint lines; its title may be any text."""
    return {
        "title": {"text": text(title, 60), "standoff": 8, "font": {"size": 13}},
        "gridcolor": "var(--grid)",
        "linecolor": "var(--rule)",
        "zerolinecolor": "var(--grid)",
        "automargin": True,
        **options,
    }


def counted(title: str, most: int, **options: Any) -> dict[str, Any]:
    """An axis of whole numbers up to some; of a few, each has its tick."""
    ticks = {"dtick": 1} if most <= 8 else {"nticks": 8}
    return axis(title, tickformat="d", zeroline=False, **ticks, **options)


def bare(**options: Any) -> dict[str, Any]:
    """An axis that nobody sees, which stays as it is."""
    return axis(showticklabels=False, showgrid=False, zeroline=False, showline=False, fixedrange=True, **options)


def chart(data: Sequence[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], **layout: Any) -> dict[str, Any]:
    """A chart of traces over two axes."""
    return {
        "data": list(data),
        "layout": {
            "xaxis": x,
            "yaxis": y,
            "margin": {"l": 8, "r": 12, "t": 12, "b": 44},
            "showlegend": False,
            "hovermode": "closest",
            "hoverlabel": {"align": "left", "namelength": -1},
            "paper_bgcolor": "var(--paper)",
            "plot_bgcolor": "var(--paper)",
            "font": {"color": "var(--ink)", "size": 13},
            **layout,
        },
    }


def rows(
    labels: Sequence[str],
    estimates: Sequence[tuple[float, float | None]],
    hover: Sequence[str],
    colours: Sequence[str],
    points: Sequence[tuple[Sequence[float], Sequence[str]]],
    title: str,
    line: float | None,
    form: str,
) -> dict[str, Any]:
    """A row per thing: its label over a dot with an interval, and the values behind it as faint dots.

    Args:
        labels: of each row, from the top; any text.
        estimates: the mean, and half the interval or None.
        hover: what a dot says, safe for plotly.
        colours: of each row.
        points: the values of each row, and what each says.
        title: of the axis.
        line: where to draw a line down, like a baseline or 0.
        form: of numbers along the axis, as d3 has it.
    """
    places = list(range(len(labels)))
    data = [
        scatter(
            [value for values, _ in points for value in values],
            [place for place, (values, _) in zip(places, points, strict=True) for _ in values],
            [said for _, words in points for said in words],
            marker={
                "size": 7,
                "opacity": 0.45,
                "color": [each for each, (values, _) in zip(colours, points, strict=True) for _ in values],
            },
        )
    ]
    for place, (mean, half), shade, said in zip(places, estimates, colours, hover, strict=True):
        interval = {
            "type": "data",
            "array": [half or 0],
            "visible": bool(half),
            "thickness": 2,
            "width": 5,
            "color": shade,
        }
        marker = {"size": 11, "color": shade, "line": {"width": 2, "color": "var(--paper)"}}
        data.append(scatter([mean], [place], [said], marker=marker, error_x=interval))
    titles = [
        {
            "x": 0, "xref": "paper", "xanchor": "left", "y": place, "yshift": 19, "text": text(label, 70),
            "showarrow": False, "bgcolor": "var(--paper)", "font": {"size": 12, "color": "var(--soft)"},
        }
        for place, label in zip(places, labels, strict=True)
    ]  # fmt: skip
    lines = []
    if line is not None:
        lines = [
            {
                "type": "line", "x0": line, "x1": line, "y0": 0, "y1": 1, "yref": "paper",
                "layer": "below", "line": {"width": 1.5, "dash": "dot", "color": "var(--soft)"},
            }
        ]  # fmt: skip
    return chart(
        data,
        axis(title, tickformat=form, zeroline=False, nticks=7),
        axis(range=[len(labels) - 0.5, -0.75], showticklabels=False, showgrid=False, zeroline=False, fixedrange=True),
        height=ROW * len(labels) + 70,
        annotations=titles,
        shapes=lines,
    )
