"""What a person reads of exported files in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vgg_cifar.errors import printable
from vgg_cifar.reporting.formatting import NOTHING, rate, score


def exported(found: dict[str, dict[str, Any]], folder: Path) -> None:
    """Print a line per file beside PyTorch's own, and what it rests on.

    Args:
        found: what an export returns.
        folder: where the files lie.
    """
    console = Console(highlight=False)
    first = next(iter(found.values()))
    proof, own = first["proof"], first["pytorch_images_per_second"] or {}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for heading in ("MB", "difference", "agree", "top-1", *(f"images/s, {size}" for size in own)):
        table.add_column(heading, justify="right")
    accuracy = NOTHING if proof is None else score(proof["pytorch_top1"], "top1")
    table.add_row("PyTorch", "", "", "", accuracy, *map(rate, own.values()))
    for entry in found.values():
        proof, speeds = entry["proof"], entry["images_per_second"] or {}
        shown = [NOTHING] * 3
        if proof is not None:
            shown = [f"{proof['difference']:.1e}", f"{proof['same_top1']:,}", score(proof["top1"], "top1")]
        table.add_row(entry["file"], f"{entry['bytes'] / 1e6:.1f}", *shown, *(rate(speeds.get(size)) for size in own))
    console.print(table)
    console.print(Text(_basis(first), "dim"), soft_wrap=True)
    console.print(Text(printable(f"Files: {folder}")), soft_wrap=True)


def _basis(entry: dict[str, Any]) -> str:
    """On what images a file was compared, and within which bound."""
    checkpoint = f"{entry['checkpoint']} checkpoint, epoch {entry['epoch']}"
    proof = entry["proof"]
    if proof is None:
        return printable(f"{checkpoint}. Not proven: images=0 compared nothing with PyTorch.")
    return printable(
        f"{checkpoint}; probabilities and top-1 of {proof['images']:,} test images. Allowed difference of float32: "
        f"{proof['bound']:g}."
    )
