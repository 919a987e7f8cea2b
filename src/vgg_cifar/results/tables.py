"""The pages' part of records, in Markdown: a table of all rows, what made each, and tables that compare."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import Any

from vgg_cifar.choices import CONF
from vgg_cifar.comparison.statistics import Estimate, estimate, paired
from vgg_cifar.errors import UserError
from vgg_cifar.reporting.formatting import NOTHING, change, duration, rate, score, spread
from vgg_cifar.results.records import scores

HEAD = (
    "run", "seeds", "test top-1", "lowest", "top-5", "superclass", "epochs", "trained", "images/s", "on",
    "test set read",
)  # fmt: skip


def table(records: Sequence[dict[str, Any]]) -> str:
    """A row for each record of one, the best first: means over seeds, the deviation of one seed, medians of cost."""
    lines = [_line(HEAD), f"| --- |{' ---: |' * (len(HEAD) - 1)}"]
    return "\n".join([*lines, *(_line(_cells(each)) for each in best_first(records))])


def ensembles(records: Sequence[dict[str, Any]]) -> str:
    """A row for each record whose networks were evaluated together: the mean of single ones, all, and with views."""
    head = ("run", "networks", "single", "single + TTA", "ensemble", "ensemble + TTA", "TTA", "evaluated")
    lines = [_line(head), f"| --- |{' ---: |' * (len(head) - 1)}"]
    for record in best_first(records):
        if (found := record.get("ensemble")) is not None:
            single, single_tta = (found[name] and fmean(found[name]) for name in ("single", "single_tta"))
            shares = (single, single_tta, found["ensemble"], found["ensemble_tta"])
            cells = (NOTHING if share is None else score(share, "test/top1") for share in shares)
            how = f"{found['accelerator']}, {found['precision']}, commit {found['commit'][:7]}"
            networks = f"{len(found['single'])}"
            lines.append(_line([f"`{record['name']}`", networks, *cells, found["tta"] or NOTHING, how]))
    return "\n".join(lines)


def sources(records: Sequence[dict[str, Any]]) -> str:
    """What made each row of the table, in its order."""
    parts = []
    for each in best_first(records):
        parts += [f"**`{each['name']}`**: {made(each)}. {each['note']}".rstrip(), command(each)]
    return "\n\n".join(parts)


def ablation(record: dict[str, Any]) -> str:
    """The rows of a record beside its first: means, and mean differences of the same seeds with their 95% interval."""
    metric, reference = record["metric"], record["rows"][0]
    head = ("changed", "seeds", metric.replace("/top", " top-"), "difference", "95% interval")
    lines = [_line(head), f"| --- |{' ---: |' * (len(head) - 1)}"]
    for row in record["rows"]:
        values = scores(row, metric)
        difference = None if row is reference else paired(values, scores(reference, metric))
        cells = [
            f"`{' '.join(row['overrides'])}`" if row["overrides"] else "as it is",
            f"{len(values)}",
            _scattered(estimate(list(values.values())), metric),
            NOTHING if difference is None else change(difference.mean, metric),
            _interval(difference, metric),
        ]
        lines.append(_line(cells))
    name = record["name"]
    instead = " in the place of what the first one says" if reference["overrides"] else ""
    others = f"Every other row is typed with what it says{instead}"
    again = f"`.venv/bin/python benchmarks/rerun.py record={name}` makes them all again, and compares"
    told = f"{made(record)}; [record](records/{name}.json). {record['note']}".rstrip()
    return "\n\n".join([command(record), f"{others}; {again}.", "\n".join(lines), told])


def command(record: dict[str, Any]) -> str:
    """What makes the runs of a record's first row again; several rows are jobs of one sweep."""
    row, several = record["rows"][0], len(record["rows"]) > 1
    seeds = [str(run["seed"]) for run in row["runs"]]
    sweep = ["-m"] if several or len(seeds) > 1 else []
    into = [f"sweep={record['name']}"] if several else []
    words = [*record["overrides"], *row["overrides"], f"seed={','.join(seeds)}", *into]
    return f"```\n{shlex.join(['.venv/bin/python', 'src/train.py', *sweep, *words])}\n```"


def made(record: dict[str, Any]) -> str:
    """When, by which code and on what."""
    hardware, differ = record["hardware"], record["differ"]
    days = sorted({run["start"][:10] for row in record["rows"] for run in row["runs"]})
    commits = [commit[:7] for commit in record["commits"]]
    parts = [
        days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
        f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}",
        ", ".join(hardware["gpus"]) or f"{hardware['cpu']}, {hardware['threads']} of {hardware['cores']} cores",
        hardware["precision"],
        f"torch {record['packages']['torch']}",
        *(f"{what} not the same for all ({'; '.join(values)})" for what, values in differ.items() if what != "commit"),
    ]
    return ", ".join(parts)


def device(hardware: dict[str, Any]) -> str:
    """The processors that did the work, in a few letters."""
    counted = Counter(re.sub(r"^NVIDIA |[ -]?\d+ ?GB.*$", "", name) for name in hardware["gpus"])
    found = [f"{count} x {name}" if count > 1 else name for name, count in counted.items()]
    cpu = re.sub(r"(?i)\((?:r|tm)\)| processor\b| cpu(?= )| @.*$", "", hardware["cpu"])
    threads = hardware["threads"]
    return ", ".join(found) or f"{cpu}, {threads} thread{'s' * (threads != 1)}"


def best_of_each(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each recipe the record that is highest in the table.

    A record is of the experiment that its name begins with, else of the one that was typed, else a recipe of its own.
    A recipe that was found by changing another was typed as that other.
    """
    experiments = sorted((path.stem for path in (CONF / "experiment").glob("*.yaml")), key=len)
    found: dict[str, dict[str, Any]] = {}
    for record in best_first(records):
        typed = [each.removeprefix("experiment=") for each in record["overrides"] if each.startswith("experiment=")]
        begun_with = [each for each in experiments if f"{record['name']}_".startswith(f"{each}_")]
        found.setdefault([record["name"], *typed, *begun_with][-1], record)
    return list(found.values())


def filled(pages: dict[str, str], records: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Pages by name, whose tables and list of sources are made anew of the records.

    Raises:
        UserError: as `fill`, and if a record that compares has no place on any page, or one that is taken.
    """
    contents = {
        "best": table(best_of_each(records)),
        "table": table(records),
        "sources": sources(records),
        "ensembles": ensembles(records),
    }
    compared = {each["name"]: ablation(each) for each in records if len(each["rows"]) > 1}
    for name in compared:
        if name in contents:
            raise UserError(f"name: the pages have {', '.join(contents)} of their own; give another name=")
        if not any(f"<!-- {name} -->" in text for text in pages.values()):
            raise UserError(f"{', '.join(pages)}: none has the line <!-- {name} -->")
    return {page: fill(text, contents | compared) for page, text in pages.items()}


def best_first(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of one row, in the order of the table."""
    return sorted((each for each in records if len(each["rows"]) == 1), key=_place)


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


def _place(record: dict[str, Any]) -> tuple[float, str]:
    return -fmean(scores(record["rows"][0], record["metric"]).values()), record["name"]


def _cells(record: dict[str, Any]) -> Iterator[str]:
    results = [run["result"] for run in record["rows"][0]["runs"]]

    def over(name: str) -> list[float]:
        return [result[name] for result in results if name in result]

    top1, epochs = over("test/top1"), sorted(set(over("epochs")))
    yield f"`{record['name']}`"
    yield f"{len(results)}"
    mean, _, deviation = _scattered(estimate(top1), "test/top1").partition(" ")
    yield f"**{mean}** {deviation}".rstrip()
    yield score(min(top1), "test/top1")
    for name in ("test/top5", "test/superclass_top1"):
        yield score(fmean(over(name)), name) if over(name) else NOTHING
    yield " to ".join(f"{each:g}" for each in dict.fromkeys((epochs[0], epochs[-1])))
    yield duration(median(over("train_seconds")))
    yield rate(median(over("images_per_second")))
    yield device(record["hardware"])
    yield f"{sum(over('test_reads')):g} x"


def _scattered(found: Estimate | None, metric: str) -> str:
    """A mean with the deviation of one value, where there are several."""
    if found is None:
        return NOTHING
    return score(found.mean, metric) + (f" ± {spread(found.deviation, metric)}" if found.deviation is not None else "")


def _interval(found: Estimate | None, metric: str) -> str:
    if found is None or found.interval is None:
        return NOTHING
    low, high = (change(end, metric) for end in found.interval)
    return f"{low} to {high}"


def _line(cells: Sequence[str] | Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"
