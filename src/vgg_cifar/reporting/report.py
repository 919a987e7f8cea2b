"""One page to compare runs, a table beside it, and a few lines in the terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vgg_cifar.comparison import Comparison, compare, trials
from vgg_cifar.comparison.comparison import is_loss
from vgg_cifar.comparison.curves import CURVES
from vgg_cifar.comparison.options import of
from vgg_cifar.comparison.runs import Run
from vgg_cifar.comparison.search import Search
from vgg_cifar.errors import UserError, first_line
from vgg_cifar.reporting import flat, parallel, terminal
from vgg_cifar.reporting.charts import SERIES
from vgg_cifar.reporting.formatting import address
from vgg_cifar.reporting.page import render
from vgg_cifar.reporting.pictures import MOST_ROWS, pictures, series
from vgg_cifar.reporting.trial_pictures import MOST_BARS, MOST_LINES, by_share, trial_pictures
from vgg_cifar.runs.folder import RunFolder, write

PAGE, TABLE = "report.html", "report.csv"
MOST_LISTED = 1000
"""Trials of a search in its table."""


def report(
    sources: Sequence[str | Path], baseline: str | None = None, metric: str | None = None, to: str | Path | None = None
) -> Path:
    """Compare the runs in some folders, print what came out, and write `report.html` and `report.csv`.

    Args:
        sources: folders that hold runs at any depth, or are runs.
        baseline: a group's number, or overrides that fit one group; None takes the one nearest to the defaults.
        metric: a final metric to compare by; None is test/top1, of a search its first objective, or what there is.
        to: the folder to write to, made if it is not there; None is the one source.

    Returns:
        The page.

    Raises:
        UserError: if there is no run, no such metric, not one such baseline, or no place to write to.
        RunError: if a file cannot be written.
    """
    if to is None and len(sources) != 1:
        raise UserError("to: several folders are compared; say where the report goes: to=FOLDER")
    roots = [RunFolder(source).path for source in sources]
    found = compare(roots, baseline, metric)
    place = roots[0] if to is None else RunFolder(to).path
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"to: {place} cannot be made: {first_line(error)}") from error
    folders = {run.number: os.path.relpath(run.folder.path, place) for run in found.runs}
    write(place / TABLE, flat.table(found, folders))
    write(place / PAGE, _page(found, folders, " and ".join(root.resolve().name for root in roots)))
    terminal.runs_compared(found, place / PAGE)
    return place / PAGE


def _page(found: Comparison, folders: dict[int, str], title: str) -> str:
    charts = pictures(found) | ({} if found.search is None else trial_pictures(found.search))
    places = series(found)

    def link(run: Run, words: object) -> Markup:
        if not run.folder.path.is_dir():
            return Markup("{}").format(words)
        return Markup('<a href="{}/">{}</a>').format(address(folders[run.number]), words)

    return render(
        "report.html",
        charts,
        title=title,
        found=found,
        curves=[name for name in CURVES if f"curve-{name.replace('/', '-')}" in charts],
        series={number: place if place < SERIES else "none" for number, place in places.items()},
        folders=folders,
        counted=sum(run.finished for run in found.runs),
        csv=TABLE,
        most_rows=MOST_ROWS,
        loss=is_loss,
        link=link,
        options=lambda run: of(run, found.keys).values(),
        **({} if found.search is None else _of_search(found.search)),
    )


def _of_search(search: Search) -> dict[str, Any]:
    """What the page's part on a search asks for."""
    listed = sorted(search.trials, key=lambda trial: trial.number)
    best = trials.best_first(search)
    numbers = {trial.number for trial in best}
    shares = {
        name: ", ".join(f"{key} {share:.0%}" for key, share in by_share(found)[:MOST_BARS])
        for name, found in search.importance.items()
    }
    return {
        "states": trials.states(search),
        "leaders": trials.leaders(search),
        "better": [trials.improvements(search, place) for place in range(len(search.objectives))],
        "shares": shares,
        "listed": [*best, *(trial for trial in listed if trial.number not in numbers)],
        "most_leaders": 2 * trials.MOST_LEADERS,
        "most_lines": MOST_LINES,
        "most_options": parallel.MOST_ROWS,
        "most_listed": MOST_LISTED,
    }
