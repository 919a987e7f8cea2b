"""A comparison as a table for other programs: a row per run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from vgg_cifar.comparison import Comparison
from vgg_cifar.comparison.options import of, typed
from vgg_cifar.spreadsheet import cell


def table(found: Comparison, folders: Mapping[int, str]) -> str:
    """The rows as CSV: what differs, every final number, seconds, where from.

    Args:
        found: the comparison.
        folders: by a run's number, where it lies, as seen from the table.
    """
    numbers = sorted({name for run in found.runs for name in run.metrics()}, key=_metrics_first)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["number", "folder", "status", "error", "seed", "commit", *map(cell, map(typed, found.keys)),
                   *map(cell, numbers)])  # fmt: skip
    for run in found.runs:
        git = run.manifest.get("git")
        commit = git.get("commit") if isinstance(git, dict) else None
        words = [folders[run.number], run.status, run.error, run.seed, commit, *of(run, found.keys).values()]
        values = run.metrics()
        rows.writerow(
            [run.number, *map(cell, words), *(repr(values[name]) if name in values else "" for name in numbers)]
        )
    return text.getvalue().encode("utf-8", "replace").decode()


def _metrics_first(name: str) -> tuple[bool, str]:
    return "/" not in name, name
