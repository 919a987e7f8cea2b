"""From the records of benchmarks and of `make soak` to the tables of the pages in docs/.

    python benchmarks/performance.py

A record docs/records/NAME.json, which a benchmark writes with `json=` and `make soak` with FIGURES=, fills the part of
a page between the lines `<!-- NAME -->` and `<!-- end of NAME -->`; NAME ends in the kind of machine, _cpu or _gpu.
Nothing else makes a figure there.
"""

import json
import re
import shlex
from typing import Any

from rounds import Measured, machine
from vgg_cifar.command_line import guard
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.results.tables import fill

RECORDS = PROJECT / "docs" / "records"
PAGES = tuple(PROJECT / "docs" / f"{name}.md" for name in ("performance", "reliability", "scaling"))
PLACE = re.compile(r"<!-- (\w+_(?:cpu|gpu|mps)) -->")


def part(name: str, record: dict[str, Any]) -> str:
    """The command, the tables and what made them, in Markdown."""
    commit = record["git"]["commit"] or "unknown"
    changed = "" if record["git"]["dirty"] is False else " and changes"
    made = f"{record['start'][:10]}, commit {commit[:7]}{changed}, {machine(record)}, "
    source = f"torch {record['torch']}; [record](records/{name}.json)."
    if "figures" in record:
        rows = [f"| {what} | {number:,g} |" for what, number in record["figures"].items()]
        table = "\n".join(["| | |", "| --- | ---: |", *rows])
        tests = f"{record['passed']:,} tests passed, {record['failed']:,} failed"
        return "\n\n".join([f"```\n{' '.join(record['command'])}\n```", table, f"{made}{tests}, {source}"])
    command = shlex.join([".venv/bin/python", *record["command"][1:]])
    tables = [Measured(**each).markdown() for each in record["tables"]]
    made += f"{record['precision']}, load before: {record['load']:.1f}, {source}"
    return "\n\n".join([f"```\n{command}\n```", *tables, made])


def pages(texts: list[str]) -> list[str]:
    """The pages with every part made anew of its record, where there is one.

    Raises:
        UserError: if a benchmark's record has no place on any of them.
    """
    records = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))}
    parts = {name: part(name, record) for name, record in records.items() if {"tables", "figures"} & record.keys()}
    places = [PLACE.findall(text) for text in texts]
    if homeless := sorted(parts.keys() - {name for page in places for name in page}):
        raise UserError(f"{', '.join(page.name for page in PAGES)}: none has the line <!-- {homeless[0]} -->")
    return [
        fill(text, {name: parts.get(name, "Not measured yet.") for name in page})
        for text, page in zip(texts, places, strict=True)
    ]


def main() -> None:
    for page, text in zip(PAGES, pages([page.read_text() for page in PAGES]), strict=True):
        page.write_text(text)


if __name__ == "__main__":
    guard(main, __doc__)
