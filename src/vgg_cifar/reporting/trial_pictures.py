"""The charts of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vgg_cifar.comparison import trials
from vgg_cifar.comparison.search import Search, Trial
from vgg_cifar.reporting.charts import axis, bare, chart, counted, scatter, shade, text
from vgg_cifar.reporting.formatting import is_share, objective, setting
from vgg_cifar.reporting.parallel import parallel

MOST_LINES = 200
"""Trials in a picture of lines."""
MOST_BARS = 15
MOST_PARAMS = 8
"""Of a trial, where it says what it is."""
MOST_SAID = 2000
"""Trials that say so: of more, the page would grow too large."""
MOST_POINTS = 200
"""Of a line."""
BEST = "var(--series-1)"
RING = {"size": 8, "symbol": "circle-open", "color": "var(--soft)", "line": {"width": 1.5}}
CROSS = {"size": 8, "symbol": "x-thin-open", "color": "var(--bad)", "line": {"width": 2}}


def trial_pictures(search: Search) -> dict[str, dict[str, Any]]:
    """All charts for which there are numbers, by their names; of one objective each, with its place from 0."""
    best = trials.best_first(search)[:MOST_LINES]
    made = {"front": _front(search), "parallel": parallel(search, best), "intermediate": _intermediate(search, best)}
    for place, name in enumerate(search.objectives):
        made[f"history-{place}"] = _history(search, place, name)
        made[f"importance-{place}"] = _importance(search.importance.get(name, {}))
    return {name: each for name, each in made.items() if each is not None}


def said(search: Search, trial: Trial, more: str = "") -> str:
    """What a mark of a trial says, safe for plotly."""
    values = zip(search.objectives, trial.values or (), strict=False)
    lines = [f"<b>trial {trial.number}</b> {trial.state}{more}"]
    lines += [f"{text(name, 40)}: {objective(value, name)}" for name, value in values]
    params = list(trial.params.items())[:MOST_PARAMS] if len(search.trials) <= MOST_SAID else []
    lines += [f"{text(key, 40)}={text(setting(value), 40)}" for key, value in params]
    return "<br>".join(lines)


def by_share(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """Options by their importance, the largest first."""
    return sorted(shares.items(), key=lambda item: -item[1])


def _form(name: str, values: Sequence[float]) -> str:
    """How plotly writes the numbers along an axis."""
    return "~%" if is_share(name) else "~s" if max(map(abs, values), default=0) >= 10_000 else "~g"


def _history(search: Search, place: int, name: str) -> dict[str, Any] | None:
    """A mark per trial by its number, a line of the best so far; at the foot those that have no such number."""
    found = trials.complete(search)
    better = trials.improvements(search, place)
    pruned = [trial for trial in search.trials if trial.state == trials.PRUNED and place == 0]
    ends = [(trial, *at) for trial in pruned if (at := _last(trial)) is not None]
    foot = [
        ([trial for trial in pruned if not trial.intermediate], RING),
        ([trial for trial in search.trials if trial.state == "failed" and place == 0], CROSS),
    ]
    with_foot = any(those for those, _ in foot)
    if not (found or ends or with_foot):
        return None
    size = 8 if len(search.trials) <= 100 else 6
    best = [trial.values[place] for trial in better if trial.values]
    last = max((trial.number for trial in found), default=0)
    return chart(
        [
            scatter(
                [*(trial.number for trial in better), last], [*best, *best[-1:]] if best else [], (),
                mode="lines", line={"shape": "hv", "width": 2, "color": BEST},
            ),
            scatter(
                [trial.number for trial in found], [trial.values[place] for trial in found if trial.values],
                [said(search, trial) for trial in found], marker={"size": size, "color": "var(--series-0)"},
            ),
            _ends(search, [(trial.number, value, trial, epoch) for trial, epoch, value in ends], size),
            *(
                scatter(
                    [trial.number for trial in those], [0] * len(those),
                    [said(search, trial) for trial in those], yaxis="y2", marker=mark | {"size": size},
                )
                for those, mark in foot
                if those
            ),
        ],
        counted("trial", len(search.trials), anchor="y2" if with_foot else "y"),
        axis(name, tickformat=_form(name, best), nticks=7, zeroline=False, domain=[0.1 if with_foot else 0, 1]),
        **({"yaxis2": bare(domain=[0, 0.1], range=[-1, 1])} if with_foot else {}),
        height=340,
    )  # fmt: skip


def _ends(search: Search, found: Sequence[tuple[int, float, Trial, int]], size: int) -> dict[str, Any]:
    """A ring for each trial that was stopped: x, y, which, and after which epoch."""
    words = [said(search, trial, f" at epoch {epoch}") for _, _, trial, epoch in found]
    return scatter([x for x, *_ in found], [y for _, y, *_ in found], words, marker=RING | {"size": size})


def _last(trial: Trial) -> tuple[int, float] | None:
    return max(trial.intermediate.items(), default=None)


def _importance(shares: dict[str, float]) -> dict[str, Any] | None:
    """A bar per option, its name over it."""
    if not shares:
        return None
    ranked = by_share(shares)[:MOST_BARS]
    return chart(
        [
            {
                "type": "bar", "orientation": "h", "x": [share for _, share in ranked], "y": list(range(len(ranked))),
                "width": 0.34, "marker": {"color": "var(--series-0)"}, "text": [f"{share:.0%}" for _, share in ranked],
                "textposition": "outside", "cliponaxis": False, "hoverinfo": "skip",
            }
        ],
        bare(range=[0, 1.08]),
        bare(range=[len(ranked) - 0.5, -0.8]),
        height=46 * len(ranked) + 30,
        margin={"l": 8, "r": 12, "t": 4, "b": 4},
        annotations=[
            {
                "x": 0, "xref": "paper", "xanchor": "left", "y": place, "yshift": 17, "text": text(key, 60),
                "showarrow": False, "font": {"size": 12, "color": "var(--soft)"},
            }
            for place, (key, _) in enumerate(ranked)
        ],
    )  # fmt: skip


def _front(search: Search) -> dict[str, Any] | None:
    """The first objective over the second: what no trial beats in both, joined, and the others behind."""
    found = trials.complete(search)
    if len(search.objectives) < 2 or not found:
        return None
    (name, _), (cost, direction) = list(search.objectives.items())[:2]
    best = trials.front(search)
    numbers = {trial.number for trial in best}
    others = [trial for trial in found if trial.number not in numbers]
    best = sorted(best, key=lambda trial: trial.values[1] if trial.values else 0)

    gains, costs = ([trial.values[place] for trial in best if trial.values] for place in (0, 1))

    def marks(those: Sequence[Trial], **more: Any) -> dict[str, Any]:
        points = [trial.values for trial in those if trial.values]
        words = [said(search, trial) for trial in those]
        return scatter([each[1] for each in points], [each[0] for each in points], words, **more)

    return chart(
        [
            marks(others, marker={"size": 8, "color": "var(--faint)", "opacity": 0.8}),
            marks(
                best, mode="lines+markers", marker={"size": 10, "color": BEST},
                line={"shape": "hv" if direction == "minimize" else "vh", "width": 2, "color": BEST},
            ),
        ],
        axis(f"{cost} ({direction})", tickformat=_form(cost, costs), nticks=7, zeroline=False),
        axis(name, tickformat=_form(name, gains), nticks=7, zeroline=False),
        height=380,
    )  # fmt: skip


def _intermediate(search: Search, best: Sequence[Trial]) -> dict[str, Any] | None:
    """A line per trial by epoch: the better, the stronger; those that were stopped end in a ring."""
    pruned = [trial for trial in search.trials if trial.state == trials.PRUNED and trial.intermediate][-MOST_LINES:]
    epochs = {epoch for trial in (*best, *pruned) for epoch in trial.intermediate}
    if len(epochs) < 2:
        return None
    name = next(iter(search.objectives))
    data = [_course(name, trial, {"width": 1.25, "color": "var(--faint)", "dash": "dot"}) for trial in pruned]
    for place, trial in reversed(list(enumerate(best))):
        line = {"width": 1.25, "color": shade(place, len(best))}
        data.append(_course(name, trial, line if place else {"width": 3, "color": BEST}))
    ends = [(trial, *at) for trial in pruned if (at := _last(trial)) is not None]
    data.append(_ends(search, [(epoch, value, trial, epoch) for trial, epoch, value in ends], 6))
    return chart(
        data,
        counted("epoch", max(epochs)),
        axis(name, tickformat=_form(name, [value for _, _, value in ends]), nticks=7, zeroline=False),
        height=380,
    )


def _course(name: str, trial: Trial, line: dict[str, Any]) -> dict[str, Any]:
    steps = sorted(trial.intermediate.items(), reverse=True)
    steps = steps[:: -(-len(steps) // MOST_POINTS) or 1][::-1]
    told = [
        f"<b>trial {trial.number}</b> {trial.state}<br>epoch {epoch}: {objective(value, name)}"
        for epoch, value in steps
    ]
    return scatter([epoch for epoch, _ in steps], [value for _, value in steps], told, mode="lines", line=line)
