"""Small records of whole runs, to be kept with the project, and the table that is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vgg_cifar.errors import UserError
from vgg_cifar.reporting.formatting import duration
from vgg_cifar.runs.curves import by_epoch
from vgg_cifar.runs.folder import RunFolder


def record(folder: RunFolder, note: str = "") -> dict[str, Any]:
    """What a number in the documentation rests on: a run's result, how it was made, and its curves.

    Args:
        folder: of a finished run.
        note: what a reader should know about how it was run.

    Raises:
        UserError: if the run is not finished, or its code was changed and not committed.
    """
    result, manifest = folder.read_result(), folder.read_manifest()
    if result.get("status") != "finished":
        raise UserError(f"run: {folder.path} is {result.get('status', 'empty')}, only a finished run makes a record")
    processes = [manifest, *manifest.get("resumed", [])]
    if any(process["git"]["dirty"] is not False for process in processes):
        raise UserError(f"run: {folder.path} was made by files that no commit holds; commit them and run it again")
    return {
        "name": folder.read_config()["name"],
        "command": manifest["command"],
        "seed": manifest["seed"],
        "commits": sorted({process["git"]["commit"] for process in processes}),
        "packages": manifest["packages"],
        "hardware": manifest["hardware"],
        "data": manifest["data"],
        "start": manifest["start"],
        "resumed": len(processes) - 1,
        "note": note,
        "result": result,
        "epochs": by_epoch(folder),
    }


def read(folder: Path) -> list[dict[str, Any]]:
    """All records of runs in a folder, in the order of their files' names."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [each for each in found if "epochs" in each]


def table(records: list[dict[str, Any]]) -> str:
    """A table in Markdown, a row per run."""
    head = ["run", "test top-1", "top-5", "superclass", "epochs", "trained", "images/s", "seed", "test set read"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for each in records:
        result = each["result"]
        cells = [
            f"`{each['name']}`",
            f"**{result['test/top1']:.2%}**",
            f"{result['test/top5']:.2%}",
            f"{result['test/superclass_top1']:.2%}" if "test/superclass_top1" in result else "",
            f"{result['epochs']}",
            duration(result["train_seconds"]),
            f"{result['images_per_second']:.0f}",
            f"{each['seed']}",
            f"{result['test_reads']} x",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sources(records: list[dict[str, Any]]) -> str:
    """What made each row, in Markdown."""
    parts = []
    for each in records:
        hardware = each["hardware"]
        machine = (
            ", ".join(hardware["gpus"]) or f"{hardware['cpu']}, {hardware['threads']} of {hardware['cores']} cores"
        )
        made = (
            f"{each['start'][:10]}, commit {', '.join(commit[:7] for commit in each['commits'])}, {machine}, "
            f"{hardware['precision']}, torch {each['packages']['torch']}"
        )
        command = " ".join([".venv/bin/python", *each["command"][1:]])
        parts += [f"**`{each['name']}`**: {made}. {each['note']}".rstrip(), f"```\n{command}\n```"]
    return "\n\n".join(parts)


def fill_in(text: str, records: list[dict[str, Any]]) -> str:
    """A page whose table, and list of sources if it has one, are made anew of the records.

    Raises:
        UserError: as `fill`.
    """
    return fill(text, {"table": table(records), "sources": sources(records)})


def fill(text: str, contents: dict[str, str]) -> str:
    """A page with contents put between their markers, `<!-- NAME -->` and `<!-- end of NAME -->`, where it has them.

    Raises:
        UserError: if it has no marker, or one that nothing closes.
    """
    filled = 0
    for name, content in contents.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if found and not closed:
            raise UserError(f"the page lacks the line {end}")
        if found:
            text = f"{before}{begin}\n{content}\n{end}{after}"
            filled += 1
    if not filled:
        raise UserError(f"the page lacks the line <!-- {next(iter(contents))} -->")
    return text
