"""From the records of benchmarks to the tables of docs/performance.md.

    python benchmarks/performance.py

A record docs/records/NAME.json, which a benchmark writes with `json=`, fills the part of the page between the lines
`<!-- NAME -->` and `<!-- end of NAME -->`. Nothing else makes a figure there.
"""

import json
import re
from typing import Any

from rounds import Measured, machine
from vgg_cifar.command_line import guard
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.results import fill

RECORDS = PROJECT / "docs" / "records"
PAGE = PROJECT / "docs" / "performance.md"


def part(name: str, record: dict[str, Any]) -> str:
    """The command, the tables and what made them, in Markdown."""
    commit = record["git"]["commit"] or "unknown"
    changed = "" if record["git"]["dirty"] is False else " and changes"
    made = (
        f"{record['start'][:10]}, commit {commit[:7]}{changed}, {machine(record)}, {record['precision']}, "
        f"torch {record['torch']}, load before: {record['load']:.1f}; [record](records/{name}.json)."
    )
    command = " ".join([".venv/bin/python", *record["command"][1:]])
    tables = [Measured(**each).markdown() for each in record["tables"]]
    return "\n\n".join([f"```\n{command}\n```", *tables, made])


def page(text: str) -> str:
    """The page with every part made anew of its record, where there is one.

    Raises:
        UserError: if a benchmark's record has no place on the page.
    """
    records = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))}
    parts = {name: part(name, record) for name, record in records.items() if "tables" in record}
    places = re.findall(r"<!-- (\w+) -->", text)
    if homeless := sorted(parts.keys() - set(places)):
        raise UserError(f"{PAGE.name} lacks the line <!-- {homeless[0]} -->")
    return fill(text, {place: parts.get(place, "Not measured yet.") for place in places})


def main() -> None:
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    guard(main)
