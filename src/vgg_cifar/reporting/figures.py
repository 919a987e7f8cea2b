"""An evaluation's pictures as files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vgg_cifar.evaluation import examples
from vgg_cifar.evaluation.calibration import BINS
from vgg_cifar.evaluation.findings import Findings
from vgg_cifar.reporting.formatting import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
SHOWN = 40
"""Images of a gallery."""
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#5b636b"


def figures(found: Findings) -> dict[str, Tensor]:
    """Pictures drawn by matplotlib, uint8 [3, h, w], by their names."""
    order = found.by_superclass
    names = [words(found.classes[place]) for place in order]
    made = {"confusion": _confusion(found.scores.confusion[order][:, order], names)}
    if found.scores.superclass_confusion is not None:
        superclasses = [words(name) for name in found.dataset.superclasses]
        made["superclass_confusion"] = _confusion(found.scores.superclass_confusion, superclasses)
    made |= {
        "recall": _recall(found),
        "reliability": _reliability(found),
        "mistakes": _gallery(found, examples.surest_mistakes(found.scores), "Most confident mistakes"),
        "hardest": _gallery(found, examples.hardest(found.scores), "Hardest images"),
    }
    return {name: _drawn(figure) for name, figure in made.items()}


def _drawn(figure: Figure) -> Tensor:
    """The figure as uint8 [3, h, w]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[:, :, :3].copy()).permute(2, 0, 1)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    return figure, figure.add_subplot()


def _confusion(counts: Tensor, names: Sequence[str]) -> Figure:
    """Mistakes by class and by what it was taken for; the root lets small ones be seen."""
    side = 3.5 + 0.115 * len(names)
    figure, axes = _figure(side, side)
    mistakes = counts - counts.diagonal().diag()
    axes.imshow(mistakes.double().sqrt().numpy(), cmap="Blues", interpolation="nearest")
    small = 5 if len(names) > 40 else 8
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=small)
    axes.set_yticks(range(len(names)), names, fontsize=small)
    axes.tick_params(length=0)
    axes.set_xlabel("taken for")
    axes.set_title(f"{int(mistakes.sum()):,} mistakes among {int(counts.sum()):,} images", fontsize=10)
    if len(names) <= 40:
        for row, column in mistakes.nonzero().tolist():
            dark = mistakes[row, column].sqrt() > 0.6 * mistakes.max().double().sqrt()
            axes.text(column, row, str(int(mistakes[row, column])), ha="center", va="center", fontsize=6,
                      color="white" if dark else GREY)  # fmt: skip
    return figure


def _recall(found: Findings) -> Figure:
    there = found.scores.images > 0
    order = [place for place in found.scores.recall.argsort().tolist() if there[place]]
    figure, axes = _figure(7, 1.2 + 0.13 * len(order))
    axes.barh(range(len(order)), [100 * float(found.scores.recall[place]) for place in order], color=BLUE, height=0.7)
    axes.set_yticks(range(len(order)), [words(found.classes[place]) for place in order], fontsize=6)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("recall, %")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _reliability(found: Findings) -> Figure:
    figure, axes = _figure(5, 4.6)
    curve = found.scores.reliability
    axes.bar(
        [(place + 0.5) / BINS for place in range(BINS)],
        curve.accuracy.nan_to_num().tolist(),
        0.94 / BINS,
        color=BLUE,
        label="as it is",
    )
    if found.calibrated is not None:
        after = found.calibrated.reliability
        there = after.count > 0
        axes.plot(
            after.confidence[there].tolist(),
            after.accuracy[there].tolist(),
            "o-",
            color=ORANGE,
            label="with temperature",
        )
    axes.plot([0, 1], [0, 1], ":", color=GREY)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share of right answers",
             title=f"expected calibration error {curve.error:.2%}")  # fmt: skip
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _gallery(found: Findings, places: Sequence[int], title: str) -> Figure:
    """Images with what each is, and what it was taken for."""
    from matplotlib.figure import Figure

    places = places[:SHOWN]
    columns = 8
    rows = max(1, -(-len(places) // columns))
    height = 1.75 * rows + 0.45
    figure = Figure((1.45 * columns, height))
    figure.suptitle(title, fontsize=11, y=1 - 0.05 / height, va="top")
    room = {
        "left": 0.01,
        "right": 0.99,
        "bottom": 0.05 / height,
        "top": 1 - 0.75 / height,
        "wspace": 0.1,
        "hspace": 0.3,
    }
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw=room)
    for axes in grid.flat:
        axes.set_axis_off()
    scores = found.scores
    for axes, place in zip(grid.flat, places, strict=False):
        axes.imshow(found.images.images[place].permute(1, 2, 0).numpy(), interpolation="nearest")
        label, said = (words(found.classes[int(each[place])]) for each in (scores.labels, scores.predicted))
        axes.set_title(f"{label}\n{said} {float(scores.confidence[place]):.0%}", fontsize=7)
    return figure
