"""What was found, as tables for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from vgg_cifar.evaluation.findings import Findings
from vgg_cifar.spreadsheet import cell


def per_class(found: Findings) -> str:
    """CSV, a row per class: how it was recognised, and what it was most often taken for."""
    scores, (classes, superclasses) = found.scores, _names(found)
    in_top5 = (scores.ranked == scores.labels[:, None]).any(1)
    rows = []
    for place, name in enumerate(classes):
        own = scores.labels == place
        images = int(scores.images[place])
        taken, often = scores.most_taken_for(place)
        rows.append([
            place, name, superclasses[place] if superclasses else "", images, int(scores.confusion[:, place].sum()),
            _number(scores.precision[place]), _number(scores.recall[place]), _number(scores.f1[place]),
            *((_number(in_top5[own].double().mean()), _number(scores.confidence[own].mean())) if images else ("", "")),
            classes[taken] if often else "", often,
        ])  # fmt: skip
    names = ["label", "class", "superclass", "images", "predicted", "precision", "recall", "f1", "top5_recall",
             "confidence", "most_confused_with", "confused_images"]  # fmt: skip
    return _csv(names, rows)


def confusion(found: Findings) -> str:
    """CSV, a row per class, a column per class that it was taken for: images."""
    classes, _ = _names(found)
    rows = zip(classes, found.scores.confusion.tolist(), strict=True)
    return _csv(["class", *classes], [[name, *counts] for name, counts in rows])


def predictions(found: Findings) -> str:
    """CSV, a row per image: its label, what was said, and how probable that was thought."""
    scores, (classes, superclasses) = found.scores, _names(found)
    top = scores.ranked.shape[1]
    names = ["index", "label", "predicted", "class", "predicted_class"]
    names += ["superclass", "predicted_superclass"] if superclasses else []
    names += ["right", "loss", "label_probability", "confidence"]
    names += ["calibrated_label_probability", "calibrated_confidence"] if found.calibrated else []
    names += [f"{what}{place}" for place in range(1, top + 1) for what in ("top", "probability")]
    columns: list[list[Any]] = [scores.label_probability.tolist(), scores.confidence.tolist()]
    if found.calibrated is not None:
        columns += [found.calibrated.label_probability.tolist(), found.calibrated.confidence.tolist()]
    likely = scores.probabilities.gather(1, scores.ranked).tolist()
    ranked, losses = scores.ranked.tolist(), scores.losses.tolist()
    rows = []
    for place, label in enumerate(scores.labels.tolist()):
        said = ranked[place][0]
        row = [place, label, said, classes[label], classes[said]]
        row += [superclasses[label], superclasses[said]] if superclasses else []
        row += [int(said == label), _number(losses[place]), *(_number(column[place]) for column in columns)]
        for each, probability in zip(ranked[place], likely[place], strict=True):
            row += [classes[each], _number(probability)]
        rows.append(row)
    return _csv(names, rows)


def _names(found: Findings) -> tuple[list[str], list[str]]:
    """Of the classes, and of each one's superclass; none is a formula."""
    return [cell(name) for name in found.classes], [cell(name) for name in found.superclass_names]


def _number(value: Any) -> str:
    return f"{float(value):.12g}"


def _csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows(rows)
    return text.getvalue()
