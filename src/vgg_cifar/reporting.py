"""From numbers to what a person reads."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from vgg_cifar.options import flat, spelled

MARK = "bold yellow"


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
        if changed.get(name) is not None and (key == "name" or not another):
            said += f" (not {spelled(changed[name])})"
        parts.append(Text(said, MARK if name in changed else ""))
    return Text("  ").join(parts)


def closing(result: dict[str, Any], classes: int) -> None:
    """Print what a finished run came to.

    Args:
        result: the run's `result.json`.
        classes: of the data set; chance is one in so many.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    tested = f"{result['tested_checkpoint']} checkpoint, epoch {result['tested_epoch']}"
    notes = {"test/top1": f"chance {1 / classes:.2%}; {tested}", "test/top5": f"chance {5 / classes:.2%}"}
    for name, value in result.items():
        if name.startswith(("val/", "test/")):
            shown = f"{value:.4f}" if name.endswith("loss") else f"{value:.2%}"
            table.add_row(name, shown, notes.get(name, ""))
    reads = result["test_reads"]
    table.add_row(
        "test set read", f"{reads} x", "" if reads == 1 else "each end of the run, and each look while it trained"
    )
    table.add_row("trained", duration(result["train_seconds"]), f"{result['epochs']} epochs, {result['steps']:,} steps")
    table.add_row(
        "images/s",
        f"{result['images_per_second']:,.0f}",
        f"{duration(result['total_seconds'])} in all, with setting up and evaluating",
    )
    Console(highlight=False).print(table)


def comparison(found: dict[str, Any], stored: dict[str, Any]) -> None:
    """Print what an evaluation found beside what the run had stored, where both tested the same checkpoint."""
    same = stored.get("tested_checkpoint") == found["checkpoint"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"{found['checkpoint']} checkpoint, epoch {found['epoch']}")
    table.add_column("now", justify="right")
    table.add_column("run's own" if same else "", justify="right")
    for name, value in found.items():
        if name.startswith("test/"):
            before = stored.get(name) if same else None
            note = "" if before is None else ("equal" if before == value else f"{before:.6f}")
            table.add_row(name, f"{value:.6f}", note)
    Console().print(table)


def duration(seconds: float) -> str:
    """A time as a person says it: 45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
