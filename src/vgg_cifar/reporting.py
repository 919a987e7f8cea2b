"""From numbers to what a person reads."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


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
