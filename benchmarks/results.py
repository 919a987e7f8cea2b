"""From finished runs to the tables of README.md and docs/results.md, and their picture.

    python benchmarks/results.py [run=FOLDER] [note=TEXT]

With a run, its record is written to docs/records/NAME.json first. The tables and the picture are made of all records,
and of nothing else.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from vgg_cifar import results
from vgg_cifar.command_line import guard, key_values
from vgg_cifar.data.options import PROJECT
from vgg_cifar.runs.folder import RunFolder

RECORDS = PROJECT / "docs" / "records"
PAGES = (PROJECT / "README.md", PROJECT / "docs" / "results.md")
PICTURE = PROJECT / "docs" / "images" / "results.svg"


def main() -> None:
    given = key_values(sys.argv[1:], {"run": None, "note": ""})
    if given["run"] is not None:
        made = results.record(RunFolder.existing(given["run"], "run"), str(given["note"]))
        (RECORDS / f"{made['name']}.json").write_text(json.dumps(made, indent=1) + "\n")
    found = results.read(RECORDS)
    for page in PAGES:
        page.write_text(results.fill_in(page.read_text(), found))
    draw(found)
    print(results.table(found))


def draw(found: list[dict[str, Any]]) -> None:
    """Loss and top-1 by epoch: training as it went, the test set where it was watched, and the final test."""
    mpl.rcParams["svg.hashsalt"] = "results"  # the same picture for the same numbers
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for number, record in enumerate(found):
        colour = f"C{number}"
        for axes, metric, scale in ((left, "loss", 1.0), (right, "top1", 100.0)):
            curve(axes, record, f"train/{metric}", scale, colour, "--")
            curve(axes, record, f"test/{metric}", scale, colour, "-")
            last = record["epochs"][-1]["epoch"]
            axes.plot(last, scale * record["result"][f"test/{metric}"], "o", color=colour)
        right.plot([], [], "-o", color=colour, label=record["name"])
    left.set(xlabel="epoch", ylabel="loss")
    right.set(xlabel="epoch", ylabel="top-1, %")
    right.plot([], [], "--", color="grey", label="training")
    right.plot([], [], "-o", color="grey", label="test")
    right.legend(frameon=False, fontsize="small")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, metadata={"Date": None})


def curve(axes: Axes, record: dict[str, Any], name: str, scale: float, colour: str, style: str) -> None:
    rows = [row for row in record["epochs"] if name in row]
    axes.plot([row["epoch"] for row in rows], [scale * row[name] for row in rows], style, color=colour)


if __name__ == "__main__":
    guard(main)
