"""From finished runs to the tables of README.md and docs/results.md, and their picture.

    python benchmarks/results.py [runs=FOLDER[,FOLDER...]] [name=NAME | joins=NAME] [note=TEXT] [differ=commit,...]
        [ensemble=FOLDER] [reference=GROUP] [metric=val/top1]

With runs, sweeps' folders or their own, a record of them is written to docs/records/NAME.json first. They differ in
their seed alone: a row of the table; with `joins`, more seeds of the record of that name. `ensemble` is where
`evaluate.py run=... tta=flip to=FOLDER` has evaluated all of them together: a row of the table of ensembles as well.
With `reference`, a group's number or overrides that fit one group, they may differ in options: a table of its own on
docs/results.md, between the lines `<!-- NAME -->` and `<!-- end of NAME -->`, in which every group is compared with
that one. `differ` names what else may: commit, cpu, threads, gpus, precision, torch.
The tables are made of all records, and of nothing else. README's table and the picture have the highest row of each
recipe alone. `benchmarks/rerun.py` trains one again.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from vgg_cifar.command_line import guard, key_values, listed, quiet, register_resolvers
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.results import records, tables
from vgg_cifar.results.joining import joined

RECORDS = PROJECT / "docs" / "records"
PAGES = (PROJECT / "README.md", PROJECT / "docs" / "results.md")
PICTURE = PROJECT / "docs" / "images" / "results.svg"
COLOURS = plt.colormaps["tab10"].colors  # type: ignore[attr-defined]
KNOWN: dict[str, str | None] = {
    "runs": None, "name": None, "joins": None, "note": "", "differ": None, "reference": None, "metric": None,
    "ensemble": None,
}  # fmt: skip


def main() -> None:
    given = key_values(sys.argv[1:], KNOWN)
    quiet()
    register_resolvers()
    found = records.read(RECORDS)
    made = None
    if given["runs"] is None and any(given.values()):
        said = ", ".join(f"{key}=" for key in given if given[key])
        raise UserError(f"runs: which ones? {said} is for recording runs; give runs=FOLDER too")
    known = None if given["joins"] is None else to_join(found, given)
    if given["runs"] is not None:
        made = records.record(
            [Path(each).expanduser().absolute() for each in listed(given["runs"])],
            name=given["name"],
            note=given["note"] or "",
            differ=listed(given["differ"]),
            reference=given["reference"],
            metric=given["metric"],
            evaluation=None if given["ensemble"] is None else Path(given["ensemble"]).expanduser().absolute(),
        )
        if known is not None:
            made = joined(known, made, listed(given["differ"]))
        refuse_other_images(made)
        found = sorted([*(each for each in found if each["name"] != made["name"]), made], key=lambda each: each["name"])
    pages = tables.filled({page.name: page.read_text() for page in PAGES}, found)
    if made is not None:
        records.keep(RECORDS, made)
    for page in PAGES:
        page.write_text(pages[page.name])
    draw(tables.best_of_each(found))
    print(tables.table(found) if made is None or len(made["rows"]) == 1 else tables.ablation(made))


def to_join(found: list[dict[str, Any]], given: dict[str, str | None]) -> dict[str, Any]:
    """The record that the runs are to join."""
    if not_both := [key for key in ("name", "ensemble", "reference") if given[key] is not None]:
        raise UserError(f"joins: {not_both[0]}= is for records that are made anew; leave it out")
    return records.named([each for each in found if len(each["rows"]) == 1], given["joins"], "joins")


def refuse_other_images(made: dict[str, Any]) -> None:
    """The pages are of CIFAR-100, and a row of the table is of all its test images."""
    for row in made["rows"]:
        data = (made["config"] | row["config"])["data"]
        if data["name"] != "cifar100":
            raise UserError(f"runs: the pages are of runs on cifar100, one of these was on {data['name']}")
        if len(made["rows"]) == 1 and data["test_size"] is not None:
            raise UserError(f"runs: the table is of all test images, data.test_size={data['test_size']} was of some")


def draw(found: list[dict[str, Any]]) -> None:
    """Loss and top-1 by epoch, means and ranges over seeds: training, the test set where watched, the final test."""
    mpl.rcParams["svg.hashsalt"] = "results"  # the same picture for the same numbers
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9), layout="constrained")
    longest = [len(record["rows"][0]["runs"][0]["epochs"]) for record in found]
    for number, record in enumerate(found):
        colour = COLOURS[number % len(COLOURS)]
        runs = record["rows"][0]["runs"]
        for axes, metric, scale in ((left, "loss", 1.0), (right, "top1", 100.0)):
            curve(axes, runs, f"train/{metric}", scale, colour, "--")
            curve(axes, runs, f"test/{metric}", scale, colour, "-")
            for run in runs:
                axes.plot(run["epochs"][-1]["epoch"], scale * run["result"][f"test/{metric}"], "o", color=colour)
        right.plot([], [], "-o", color=colour, label=record["name"])
    left.set(xlabel="epoch", ylabel="loss")
    right.set(xlabel="epoch", ylabel="top-1, %")
    right.plot([], [], "--", color="black", label="training")
    right.plot([], [], "-o", color="black", label="test")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if max(longest) > 4 * min(longest):
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
    figure.savefig(PICTURE, metadata={"Date": None})


def curve(axes: Axes, runs: list[dict[str, Any]], name: str, scale: float, colour: Any, style: str) -> None:
    by_epoch: dict[int, list[float]] = {}
    for run in runs:
        for row in run["epochs"]:
            if name in row:
                by_epoch.setdefault(row["epoch"], []).append(scale * row[name])
    values = list(by_epoch.values())
    axes.plot(list(by_epoch), [sum(each) / len(each) for each in values], style, color=colour)
    axes.fill_between(list(by_epoch), list(map(min, values)), list(map(max, values)), color=colour, alpha=0.2, lw=0)


if __name__ == "__main__":
    guard(main, __doc__)
