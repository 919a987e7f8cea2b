"""What a person reads of a search in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vgg_cifar.comparison import trials
from vgg_cifar.comparison.options import ABSENT
from vgg_cifar.errors import printable
from vgg_cifar.reporting.formatting import objective, setting, short

if TYPE_CHECKING:
    from vgg_cifar.comparison import Comparison
    from vgg_cifar.comparison.search import Search

MOST_TRIALS = 5
"""Of the best ones; the page has them all."""
FEW_OPTIONS = 4
"""So many say by their values alone which is which."""


def trials_compared(console: Console, found: Comparison, search: Search) -> None:
    """Print how far a search has come, and the trials to choose from."""
    states = ", ".join(f"{count} {state}" for state, count in trials.states(search).items())
    title = f"{len(search.trials)} of {search.n_trials} trials" + (f" ({states})" if states else "")
    console.print(Text.assemble((printable(short(search.study)), "bold"), f": {title}"))
    best = trials.leaders(search)
    if not best:
        return
    few = len(search.space) <= FEW_OPTIONS
    what = " ".join(search.space) if few else "options"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("trial", *search.objectives, what, "run"):
        table.add_column(
            Text(printable(short(heading, 60 if heading == what else 20))),
            justify="left" if heading in (what, "run") else "right",
            no_wrap=heading != what,
            overflow="fold",
        )
    for trial in best[:MOST_TRIALS]:
        values = [objective(value, name) for name, value in zip(search.objectives, trial.values or (), strict=True)]
        given = {key: setting(trial.params[key]) if key in trial.params else ABSENT for key in search.space}
        options = given.values() if few else (f"{key}={value}" for key, value in given.items() if value != ABSENT)
        runs = ", ".join(run.folder.path.name for run in found.tried[trial.number])
        table.add_row(
            str(trial.number), *values, Text(printable(short(" ".join(options)))), Text(printable(short(runs, 30)))
        )
    console.print(table)
    both = " and ".join(list(search.objectives)[:2])
    which = f"No trial beats these in both {both}" if len(search.objectives) > 1 else f"The best by {both}"
    more = f"; {len(best) - MOST_TRIALS} more on the page" if len(best) > MOST_TRIALS else ""
    console.print(Text(printable(f"{which}{more}."), "dim"))
