"""What a person reads in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from vgg_cifar.comparison.options import typed
from vgg_cifar.errors import printable
from vgg_cifar.options import flat, spelled
from vgg_cifar.reporting.formatting import change, duration, margin, p_value, rate, score, short
from vgg_cifar.reporting.trial_summary import trials_compared

if TYPE_CHECKING:
    from vgg_cifar.agreement import Agreement, Metric
    from vgg_cifar.comparison import Comparison
    from vgg_cifar.evaluation.findings import Findings

MARK = "bold yellow"
MOST_ROWS = 20
"""Groups, or failures, of a comparison; the page has them all."""
FEW_OPTIONS = 4
"""Of so many options that differ between runs, the values alone tell which is which."""


def configuration(raw: dict[str, Any], changed: dict[str, Any]) -> None:
    """Print a configuration, a line per group, with what differs from the defaults marked.

    Args:
        raw: nested options.
        changed: by dotted key, the default of each option that differs from it; None if it has none.
    """
    tree = Tree(Text.assemble(("configuration", "bold"), ("  (", "dim"), ("marked", MARK), (": changed)", "dim")))
    outside = {key: value for key, value in raw.items() if not isinstance(value, dict)}
    tree.add(_line(outside, "", changed))
    for group, options in raw.items():
        if isinstance(options, dict):
            tree.add(Text.assemble((f"{group:<15}", "bold"), _line(options, f"{group}.", changed)))
    Console(highlight=False).print(tree)


def _line(options: dict[str, Any], prefix: str, changed: dict[str, Any]) -> Text:
    """The options of a group, its choice first; the defaults of another choice would say nothing about this one."""
    parts = []
    another = f"{prefix}name" in changed and prefix
    for key, value in sorted(flat(options).items(), key=lambda item: item[0] != "name"):
        name = f"{prefix}{key}"
        said = spelled(value) if key == "name" and prefix else f"{key}={spelled(value)}"
        if name in changed and (key == "name" or not another):
            said += f" (not {spelled(changed[name])})"
        parts.append(Text(said, MARK if name in changed else ""))
    return Text("  ").join(parts)


def closing(result: dict[str, Any], classes: int, superclasses: int) -> None:
    """Print what a finished run came to.

    Args:
        result: the run's `result.json`.
        classes: of the data set; chance is one in so many.
        superclasses: of the data set, all of the same size; 0 if it has none.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    tested = f"{result['tested_checkpoint']} checkpoint, epoch {result['tested_epoch']}"
    notes = {"test/top1": f"chance {1 / classes:.2%}; {tested}", "test/top5": f"chance {5 / classes:.2%}"}
    if superclasses:
        notes["test/superclass_top1"] = f"chance {1 / superclasses:.2%}"
    for name, value in result.items():
        if name.startswith(("val/", "test/")):
            table.add_row(name, score(value, name), notes.get(name, ""))
    reads = result["test_reads"]
    table.add_row(
        "test set read", f"{reads} x", "" if reads == 1 else "each end of the run, and each look while it trained"
    )
    epochs = f"{result['epochs']} epoch{'' if result['epochs'] == 1 else 's'}"
    table.add_row("trained", duration(result["train_seconds"]), f"{epochs}, {result['steps']:,} steps")
    table.add_row("images/s", rate(result["images_per_second"]), "while it trained")
    table.add_row("in all", duration(result["total_seconds"]), "with setting up and evaluating")
    Console(highlight=False).print(table)


def evaluated(found: Findings, left: Path) -> None:
    """Print what an evaluation found, beside what the run had stored of the same checkpoint, and the file it left."""
    metrics, split, first = found.metrics, found.split, found.members[0]
    stored = first.folder.read_result() if len(found.members) == 1 and split == "test" else {}
    same = bool(stored) and stored.get("tested_checkpoint") == metrics["checkpoint"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    of = f": {metrics['checkpoint']} checkpoint, epoch {metrics['epoch']}" if metrics["epoch"] else ""
    table.add_column(Text(printable(f"{found.run}{of}")), overflow="fold")
    columns = [metrics, *([metrics["tta"]] if "tta" in metrics else [])]
    table.add_column("now", justify="right")
    if len(columns) > 1:
        table.add_column(f"{metrics['tta']['views']} views", justify="right")
    if same:
        table.add_column("run's own", justify="right")
    for name, value in metrics.items():
        if name.startswith(f"{split}/"):
            before = stored.get(name) if same and isinstance(stored.get(name), float) else None
            note = "" if before is None else ("equal" if before == value else f"{before:.6f}")
            numbers = [f"{each[name]:.6f}" if name in each else "" for each in columns]
            table.add_row(name, *numbers, *([note] if same else []))
    Console(highlight=False).print(table)
    for member in metrics.get("members", []):
        views = f", of {member['tta']['views']} views {member['tta'][f'{split}/top1']:.2%}" if "tta" in member else ""
        print(printable(f"{member['run']} by itself: top-1 {member[f'{split}/top1']:.2%}{views}"))
    if "corruptions" in metrics:
        bad = metrics["corruptions"]
        print(
            f"top-1 of {bad['images']:,} images: {bad['clean_top1']:.2%}, corrupted {bad['mean_top1']:.2%} in the mean"
        )
    print(printable(f"Look at it: {left}"))


def circumstances(title: str, differences: Sequence[tuple[str, str, str]], notes: Sequence[str]) -> None:
    """Print what is not as it was when a run was made.

    Args:
        title: what is about to happen.
        differences: what, then, now.
        notes: what else a reader should know, a line each.
    """
    console = Console(highlight=False)
    console.print(Text(title, "bold"), soft_wrap=True)
    if differences:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("not the same", "then", "now"):
            table.add_column(heading, overflow="fold")
        for row in differences:
            table.add_row(*map(Text, row))
        console.print(table)
    else:
        console.print("Commit, packages, hardware and images are the same.")
    for note in notes:
        console.print(Text(f"note: {note}"))


def agreement(found: Agreement) -> None:
    """Print how a run and its reproduction agree, the verdict last."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("metric", "then", "now", "difference", "" if found.yardstick is None else "limit"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, metric in found.metrics.items():
        table.add_row(name, *_agreement_of(metric, "top" in name))
    for name, pair in found.counts.items():
        table.add_row(name.replace("_", " "), *(Text("-" if each is None else str(each)[:20]) for each in pair))
    console.print(table)
    curves, weights = found.curves, found.weights
    first = "" if curves.worst is None else f"; the first other one is that of step {curves.worst:,.0f}"
    console.print(f"{curves.count} of {curves.of} rows of metrics.csv are the same{first}")
    if weights is None:
        console.print("weights: the run keeps none to compare")
    else:
        largest = f"; the largest difference is {weights.worst:.2g}" if weights.worst else ""
        console.print(f"{weights.count} of {weights.of} tensors of the last checkpoint are the same{largest}")
    if found.yardstick is not None:
        console.print(Text(f"limit: {found.yardstick}", "dim"))
    console.print(Text(f"Verdict: {found.verdict}", "bold" if found.verdict != "off" else "bold red"))


def _agreement_of(metric: Metric, is_share: bool) -> list[str]:
    """Then, now, difference and limit; of shares, in percent and percentage points."""
    scale, form, unit = (100, ".2f", "%") if is_share else (1, ".6f", "")

    def said(value: float | None) -> str:
        return "-" if value is None else f"{scale * value:{form}}{unit}"

    if metric.then == metric.now:
        return [said(metric.then), said(metric.now), "none", ""]
    difference = "-" if metric.difference is None else f"{scale * metric.difference:+{form}}"
    limit = "not judged" if metric.limit is None else f"{scale * metric.limit:{form}}"
    return [said(metric.then), said(metric.now), difference, limit]


def runs_compared(found: Comparison, page: Path) -> None:
    """Print a line per group of runs, what to be warned of, and where the page lies."""
    console = Console(highlight=False)
    if found.search is not None:
        trials_compared(console, found, found.search)
    if found.in_groups:
        _groups(console, found)
    for note in found.notes:
        console.print(Text(f"note: {printable(note)}"))
    for run in [run for run in found.unfinished if run.error][:MOST_ROWS]:
        console.print(Text(printable(short(f"run {run.number} {run.status}: {run.error}"))), soft_wrap=True)
    console.print(Text(printable(f"Report: {page}")), soft_wrap=True)


def _groups(console: Console, found: Comparison) -> None:
    """A line per group, and what the columns mean."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    few = 0 < len(found.keys) <= FEW_OPTIONS
    what = " ".join(map(typed, found.keys)) if few else "group"
    for heading in ("#", what, "seeds", *found.metrics, "difference", "p", "trained"):
        table.add_column(
            Text(printable(heading)),
            justify="left" if heading == what else "right",
            no_wrap=heading != what,
            overflow="fold",
        )
    for group in found.groups[:MOST_ROWS]:
        scores = [
            f"{score(each.mean if each else None, name)} {margin(each, name) if name == found.metric else ''}".strip()
            for name, each in ((name, group.scores.get(name)) for name in found.metrics)
        ]
        label = " ".join(group.options.values()) if few else group.label or "all runs"
        difference, cost = group.difference, group.costs.get("train_seconds")
        table.add_row(
            str(group.number),
            Text(printable(short(label))),
            str(len(group.counted)),
            *scores,
            "baseline" if group is found.base else change(difference.mean if difference else None, found.metric),
            p_value(group.p),
            duration(cost.mean if cost else None),
        )
    if found.groups:
        console.print(table)
    if len(found.groups) > MOST_ROWS:
        console.print(f"and {len(found.groups) - MOST_ROWS} more groups, on the page")
    if any(group.counted for group in found.groups):
        legend = (
            f"By {found.order}. ±: 95% interval over seeds. Difference of {found.metric}, p by paired t-test and Holm."
        )
        console.print(Text(legend, "dim"))
