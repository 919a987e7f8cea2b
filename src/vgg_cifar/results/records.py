"""Records of finished runs, small enough to be kept with the project: what every claimed number rests on.

A record has a row, whose runs differ in their seed alone, or several, one of which the others are compared with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vgg_cifar.comparison.comparison import TEST, VALIDATION
from vgg_cifar.comparison.groups import Group, baseline, grouped
from vgg_cifar.comparison.options import differing
from vgg_cifar.comparison.origins import origins
from vgg_cifar.comparison.runs import Run, find
from vgg_cifar.config import is_beside_the_point
from vgg_cifar.errors import UserError
from vgg_cifar.options import did_you_mean
from vgg_cifar.overrides import option_of
from vgg_cifar.reporting.formatting import is_share
from vgg_cifar.results.ensembles import ensemble
from vgg_cifar.runs.curves import by_epoch
from vgg_cifar.runs.folder import write

MAY_DIFFER = ("commit", "cpu", "threads", "gpus", "precision", "torch")
"""What runs of a record may differ in, if that is said; code, packages and hardware are else the same for all."""
NAME = r"[A-Za-z0-9_][\w.-]*"


def record(
    sources: Sequence[Path],
    *,
    name: str | None = None,
    note: str = "",
    differ: Sequence[str] = (),
    reference: str | None = None,
    metric: str | None = None,
    evaluation: Path | None = None,
) -> dict[str, Any]:
    """What a row of the documentation rests on, or a table of an ablation: results, and how they were made.

    Args:
        sources: folders that hold finished runs at any depth, or are runs.
        name: of the record; None takes the runs' own.
        note: what a reader should know about how they were run.
        differ: those of `MAY_DIFFER` that may.
        reference: a group's number, or overrides that fit one group: the runs may then differ in options as well, and
            every other group becomes a row that is compared with this one. None: they differ in their seed alone.
        metric: what rows are compared by, an accuracy; None is test/top1 for one row, val/top1 for several.
        evaluation: of all runs of one row together, the folder that `evaluate.py run=... to=FOLDER` left.

    Returns:
        `name`, `note`, `metric`; `overrides` and `config`, which all runs share, without the seed and what says nothing
        of what a run computes; `commits`, `packages`, `hardware`, `data`, and under `differ` what of these was not the
        same, every value of it. `rows`, the reference first: the `overrides` and parts of the `config` of its own, and
        its `runs`: `seed`, `start`, how often `resumed`, `result`, and of a single row the course by `epochs`.
        `ensemble`, where there is an evaluation: see `ensembles.ensemble`.

    Raises:
        UserError: if there are no such runs, or they make no such record.
    """
    if reference is None and metric not in (None, TEST):
        raise UserError("metric: is for rows that are compared; give reference= too")
    if reference is not None and evaluation is not None:
        raise UserError("ensemble: is for runs that differ in their seed alone; leave reference= out")
    runs, _ = find(sources)
    _refuse_unfinished(runs)
    metric = metric or (TEST if reference is None else VALIDATION)
    keys = differing(runs)
    groups = grouped(runs, keys, [metric])
    if reference is None and len(groups) > 1:
        raise UserError(
            f"runs: they differ in {', '.join(keys[:4])}, not in their seed alone; reference=NUMBER makes a table of "
            "them that compares"
        )
    _refuse_what_cannot_be_compared(groups, metric)
    varied = _varied(runs, differ)
    first = groups[0] if reference is None else baseline(groups, reference)
    assert first is not None
    rows = [first, *(group for group in groups if group is not first)]
    name = name or str(first.runs[0].raw["name"])
    if not re.fullmatch(NAME, name):
        raise UserError(f"name: should be letters, digits and ._-, is {name}")
    typed = [_overrides(group.runs[0]) for group in rows]
    shared = [each for each in typed[0] if all(each in others for others in typed)]
    config, manifest = telling(first.runs[0].raw), first.runs[0].manifest
    asked = {} if evaluation is None else {"ensemble": ensemble(evaluation, list(_by_seed(first)))}
    return {
        "name": name,
        "note": note,
        "metric": metric,
        "overrides": shared,
        "commits": sorted({str(process["git"]["commit"]) for run in runs for process in run.processes()}),
        "differ": varied,
        **{part: manifest.get(part, {}) for part in ("packages", "hardware", "data")},
        "config": config,
        "rows": [
            {
                "overrides": [each for each in said if each not in shared],
                "config": {key: value for key, value in telling(group.runs[0].raw).items() if config.get(key) != value},
                "runs": [_run(run, course=len(rows) == 1) for run in _by_seed(group)],
            }
            for group, said in zip(rows, typed, strict=True)
        ],
    } | asked


def telling(raw: dict[str, Any]) -> dict[str, Any]:
    """A nested configuration without the seed, and without what says nothing of what a run computes."""
    found = {}
    for group, value in raw.items():
        if group != "seed" and not is_beside_the_point(group):
            inside = isinstance(value, dict)
            found[group] = (
                {k: v for k, v in value.items() if not is_beside_the_point(f"{group}.{k}")} if inside else value
            )
    return found


def read(folder: Path) -> list[dict[str, Any]]:
    """All records of runs in a folder, by name; other files are passed over."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [each for each in found if "rows" in each]


def named(found: Sequence[dict[str, Any]], name: str | None, key: str = "record") -> dict[str, Any]:
    """One of several records.

    Args:
        found: the records.
        name: of the one.
        key: what the name was typed as.

    Raises:
        UserError: if there is none of this name.
    """
    known = {each["name"]: each for each in found}
    if name not in known:
        names = ", ".join(known) or "none"
        if not name:
            raise UserError(f"{key}: which one? There is {names}")
        raise UserError(f"{key}: there is no {name}, only {names}{did_you_mean(name, known)}")
    return known[name]


def keep(folder: Path, made: dict[str, Any]) -> Path:
    """Write a record to NAME.json; the numbers of an epoch stand on one line.

    Raises:
        UserError: if the file is another kind of record.
    """
    path = folder / f"{made['name']}.json"
    if path.exists() and "rows" not in json.loads(path.read_text()):
        raise UserError(f"name: {path} is a record of something else; give another name=")
    text = json.dumps(made, indent=1)
    write(path, re.sub(r"\{\s+(\"epoch\": [^{}]+?)\s+\}", lambda row: f"{{{' '.join(row[1].split())}}}", text) + "\n")
    return path


def scores(row: dict[str, Any], metric: str) -> dict[str, float]:
    """A metric of a row by seed, as far as its runs have it."""
    return {str(run["seed"]): run["result"][metric] for run in row["runs"] if metric in run["result"]}


def _refuse_unfinished(runs: Sequence[Run]) -> None:
    left = [run for run in runs if not run.finished]
    if left:
        why = f": {left[0].error}" if left[0].error else ""
        raise UserError(
            f"runs: {len(left)} of {len(runs)} make no record, which is of finished runs; the first, "
            f"{left[0].folder.path}, is {left[0].status}{why}"
        )


def _refuse_what_cannot_be_compared(groups: Sequence[Group], metric: str) -> None:
    for group in groups:
        if len(group.counted) < len(group.runs):
            twice = next(run for run in group.runs if run not in group.counted)
            raise UserError(f"runs: {twice.folder.path} repeats the seed {twice.seed} of another run; leave one out")
    if not is_share(metric):
        raise UserError(f"metric: should be an accuracy, like {TEST}, is {metric}")
    without = [run for group in groups for run in group.runs if run.number_of(metric) is None]
    if without:
        raise UserError(f"metric: {without[0].folder.path} has no {metric}; name another, like metric={TEST}")


def _varied(runs: Sequence[Run], differ: Sequence[str]) -> dict[str, list[str]]:
    """What runs differ in and may; refuses everything else, and files that no commit holds."""
    for each in differ:
        if each not in MAY_DIFFER:
            raise UserError(f"differ: {each} may not; {', '.join(MAY_DIFFER)} may{did_you_mean(each, MAY_DIFFER)}")
    found = {}
    for origin in origins(runs):
        if origin.what.startswith("files that differ") and set(origin.values) != {"no"}:
            number = next(numbers for value, numbers in origin.values.items() if value != "no")[0]
            raise UserError(
                f"runs: {runs[number].folder.path} was made by files that no commit holds; commit them and run it again"
            )
        if not origin.same:
            if origin.what not in differ:
                may = f"; differ={origin.what} takes them all the same" if origin.what in MAY_DIFFER else ""
                raise UserError(f"runs: they differ in {origin.kind} ({origin.what}: {', '.join(origin.values)}){may}")
            found[origin.what] = list(origin.values)
    return found


def _overrides(run: Run) -> list[str]:
    """What was typed for a run, without its seed and what says nothing of what it computes."""
    typed = run.processes()[-1].get("command", [])[2:] if run.manifest.get("resumed") else run.overrides
    keys = ((each, option_of(each)) for each in typed)
    return [
        each for each, key in keys if key != "seed" and not re.match(r"hydra\b", key) and not is_beside_the_point(key)
    ]


def _by_seed(group: Group) -> Iterator[Run]:
    yield from sorted(group.runs, key=lambda run: int(run.raw["seed"]))


def _run(run: Run, *, course: bool) -> dict[str, Any]:
    found = {
        "seed": run.raw["seed"],
        "start": str(run.manifest.get("start", "")),
        "resumed": len(run.processes()) - 1,
        "result": run.result,
    }
    return found | ({"epochs": by_epoch(run.folder)} if course else {})
