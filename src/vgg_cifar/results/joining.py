"""Seeds that join a record: of runs whose folders need not lie beside those of the runs that it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vgg_cifar.comparison.origins import HARDWARE, said
from vgg_cifar.config import BESIDE_THE_POINT
from vgg_cifar.errors import UserError
from vgg_cifar.reproduction import changes
from vgg_cifar.results.records import MAY_DIFFER


def joined(known: dict[str, Any], made: dict[str, Any], differ: Sequence[str] = ()) -> dict[str, Any]:
    """A record with more seeds.

    Args:
        known: see `records.record`; its runs differ in their seed alone.
        made: the same, of the runs that are to join; its note, if it has one, takes the place of the other.
        differ: what need not be the same, see `records.MAY_DIFFER`.

    Raises:
        UserError: if the runs of both make no such record together.
    """
    name = known["name"]
    if len(known["rows"]) > 1:
        raise UserError(f"joins: {name} compares rows; seeds join a record whose runs differ in their seed alone")
    if "ensemble" in known:
        raise UserError(f"joins: {name} has an evaluation of all its networks together; record others by another name=")
    free = ("seed", *BESIDE_THE_POINT)
    changed = [f"{key}: {then} -> {now}" for key, then, now in changes(known["config"], made["config"], *free)]
    if changed:
        raise UserError(f"joins: these runs are of another recipe than {name} ({'; '.join(changed[:3])})")
    if known["data"] != made["data"]:
        raise UserError(f"joins: these runs saw other images than those of {name}")
    runs = [*known["rows"][0]["runs"], *made["rows"][0]["runs"]]
    seeds = [run["seed"] for run in runs]
    if twice := sorted({str(seed) for seed in seeds if seeds.count(seed) > 1}):
        raise UserError(f"joins: {name} has the seed {', '.join(twice)} already; leave it out")
    row = known["rows"][0] | {"runs": sorted(runs, key=lambda run: int(run["seed"]))}
    return known | {
        "note": made["note"] or known["note"],
        "commits": sorted({*known["commits"], *made["commits"]}),
        "differ": dict(_varied(known, made, differ)),
        "rows": [row],
    }


def _varied(known: dict[str, Any], made: dict[str, Any], differ: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """What the runs of both differ in, and may."""
    then, now = _origins(known), _origins(made)
    for what in sorted(then.keys() & now.keys()):
        values = list(dict.fromkeys([*then[what], *now[what]]))
        if len(values) > 1 and what not in differ and values != known["differ"].get(what):
            may = f"; differ={what} takes them all the same" if what in MAY_DIFFER else ""
            raise UserError(
                f"joins: these runs differ from those of {known['name']} in {what} ({', '.join(values)}){may}"
            )
        if len(values) > 1:
            yield what, values


def _origins(record: dict[str, Any]) -> dict[str, list[str]]:
    """Every value of what the runs of a record were made of."""
    found = {"commit": list(record["commits"])}
    found |= {name: [said(version)] for name, version in record["packages"].items()}
    found |= {name: [said(record["hardware"][name])] for name in HARDWARE if name in record["hardware"]}
    return found | {what: list(values) for what, values in record["differ"].items()}
