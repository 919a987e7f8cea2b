"""What an evaluation leaves: tables, pictures, a page, and the same on TensorBoard."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

from vgg_cifar.errors import UserError, first_line, redacted
from vgg_cifar.evaluation import examples, tables
from vgg_cifar.evaluation.findings import Findings
from vgg_cifar.reporting import images
from vgg_cifar.reporting.evaluation_charts import evaluation_charts
from vgg_cifar.reporting.evaluation_dashboard import write_dashboard
from vgg_cifar.reporting.figures import figures
from vgg_cifar.reporting.formatting import score
from vgg_cifar.reporting.page import render
from vgg_cifar.runs.folder import RunFolder, json_text, write

PAGE, METRICS = "report.html", "metrics.json"
TABLES = {"per_class.csv": tables.per_class, "confusion.csv": tables.confusion, "predictions.csv": tables.predictions}
SAMPLES = 6
"""Images of each class in its row."""
MOST, MOST_OF_ONE = 24, 8
"""Images of a gallery, of all and of one superclass."""
THOUGHTS = 3
"""Classes that a card tells of."""


def write_evaluation(found: Findings, place: Path, *, report: bool = True) -> Path:
    """Write all of it into a folder, over what an evaluation before has left there.

    Args:
        found: what to tell.
        place: the folder; made if need be.
        report: whether to make more than `metrics.json`.

    Returns:
        The page, or `metrics.json` where that is all.

    Raises:
        UserError: if the folder cannot be made, or holds something else.
        RunError: if a file cannot be written.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"to: {place} cannot be made: {first_line(error)}") from error
    refuse_what_is_no_evaluation(place)
    write(place / METRICS, json_text(found.metrics))
    if not report:
        for name in (PAGE, *TABLES):  # which tell of another evaluation
            (place / name).unlink(missing_ok=True)
        for name in ("figures", "tensorboard"):
            shutil.rmtree(place / name, ignore_errors=True)
        return place / METRICS
    for name, table in TABLES.items():
        write(place / name, table(found))
    (place / "figures").mkdir(exist_ok=True)
    drawn = figures(found)
    for name, picture in drawn.items():
        write(place / "figures" / f"{name}.png", images.png(picture))
    write_dashboard(found, drawn, place / "tensorboard")
    write(place / PAGE, _page(found, place))
    return place / PAGE


def refuse_what_is_no_evaluation(place: Path) -> None:
    """See whether a folder may take an evaluation.

    Raises:
        UserError: if it holds something else.
    """
    if RunFolder(place).config.exists():
        raise UserError(f"to: {place} is a run's folder; leave to out, or name a folder of its own")
    if (place / "tensorboard").exists() and not (place / METRICS).exists():
        raise UserError(f"to: {place} holds a tensorboard/ that no evaluation made; name a folder of its own")


def _page(found: Findings, place: Path) -> str:
    first = found.members[0]
    result = first.folder.read_result()
    return render(
        "evaluation.html",
        evaluation_charts(found),
        found=found,
        model=", ".join(dict.fromkeys(member.config.model.name for member in found.members)),
        data=first.config.data.name,
        notes=_notes(found),
        tiles=_tiles(found),
        beside=_beside(found),
        smoothing=first.config.label_smoothing,
        test_once=result.get("test_reads") == 1,
        classes=_classes(found),
        cards=_cards(found),
        costs=_costs(found),
        origins=_origins(found),
        command=f".venv/bin/tensorboard --logdir {shlex.quote(str(place))}",
    )


def _notes(found: Findings) -> list[str]:
    notes = []
    if len(found.members) > 1:
        notes.append("Several networks answer together: the mean of their probabilities.")
    if found.split == "val":
        notes.append("These images were held out of training, but the run may have been chosen by them.")
    return notes


def _tiles(found: Findings) -> list[dict[str, str]]:
    metrics, split = found.metrics, found.split
    count, classes = metrics["images"], len(found.classes)
    tiles = [
        {"name": "top-1", "value": score(metrics[f"{split}/top1"], "top1"), "note": f"chance {1 / classes:.0%}"},
        {"name": "top-5", "value": score(metrics[f"{split}/top5"], "top5"), "note": f"chance {5 / classes:.0%}"},
    ]
    if f"{split}/superclass_top1" in metrics:
        note = f"right one of {len(found.dataset.superclasses)}"
        tiles.append({"name": "superclass", "value": score(metrics[f"{split}/superclass_top1"], "top1"), "note": note})
    recall = found.scores.recall[found.scores.images > 0]
    worst, best = float(recall.min()), float(recall.max())
    return [
        *tiles,
        {"name": "macro F1", "value": score(metrics[f"{split}/macro_f1"], "top1"), "note": "mean over classes"},
        {"name": "recall", "value": f"{100 * worst:.0f}\N{EN DASH}{best:.0%}", "note": "worst and best class"},
        {"name": "loss", "value": score(metrics[f"{split}/loss"], "loss"), "note": "cross-entropy"},
        {
            "name": "calibration",
            "value": score(metrics[f"{split}/ece"], "top1"),
            "note": "expected error of confidence",
        },
        {"name": "mistakes", "value": f"{int((~found.scores.right).sum()):,}", "note": f"of {count:,} images"},
    ]


def _beside(found: Findings) -> list[dict[str, Any]]:
    """Rows of what else was asked: views of each image, the members of several."""
    metrics, split = found.metrics, found.split
    names = ("top1", "top5", "loss", "ece")

    def row(name: str, values: dict[str, Any]) -> dict[str, Any]:
        return {"name": name} | {each: values[f"{split}/{each}"] for each in names}

    def by_views(values: dict[str, Any], whose: str = "") -> list[dict[str, Any]]:
        tta = values.get("tta")
        return [row(f"{whose}mean over {tta['views']} views of each image (tta={tta['name']})", tta)] if tta else []

    rows = by_views(metrics)
    for each in metrics.get("members", []):
        rows += [row(f"{each['run']} by itself", each), *by_views(each, f"{each['run']} by itself, ")]
    together = f", of {len(found.members)} networks together" if len(found.members) > 1 else ""
    return [row(f"each image as it is, asked once{together}", metrics), *rows] if rows else []


def _classes(found: Findings) -> list[dict[str, Any]]:
    scores, rows = found.scores, []
    for label in scores.recall.argsort(stable=True).tolist():
        if not scores.images[label]:
            continue  # nothing is known of it
        shown = examples.of_class(scores, label, SAMPLES)
        taken, often = scores.most_taken_for(label)
        rows.append({
            "name": found.classes[label],
            "superclass": found.superclass_names[label] if found.superclass_names else "",
            "recall": float(scores.recall[label]),
            "precision": float(scores.precision[label]),
            "f1": float(scores.f1[label]),
            "images": int(scores.images[label]),
            "taken_for": found.classes[taken],
            "often": often,
            "shown": len(shown),
            "strip": images.address(images.strip(found.images.images[shown])),
        })  # fmt: skip
    return rows


def _cards(found: Findings) -> list[dict[str, Any]]:
    """Images of the galleries, each with its place in every choice that it belongs to."""
    of = found.dataset.superclass_of
    group = (found.scores.labels if of is None else of[found.scores.labels]).tolist()
    places: dict[int, dict[str, int]] = {}
    for name, ranked in (("sure", examples.surest_mistakes(found.scores)), ("hard", examples.hardest(found.scores))):
        taken: dict[str, int] = {}
        for index in ranked:
            for choice, most in (("all", MOST), (str(group[index]), MOST_OF_ONE)):
                if taken.get(choice, 0) < most:
                    places.setdefault(index, {})[f"{name} {choice}"] = taken[choice] = taken.get(choice, 0) + 1
    return [
        {
            "index": index,
            "name": found.classes[int(found.scores.labels[index])],
            "image": images.address(found.images.images[index]),
            "places": json.dumps(chosen),
            "said": _thoughts(found, index),
        }
        for index, chosen in places.items()
    ]


def _thoughts(found: Findings, index: int) -> list[dict[str, Any]]:
    """The most probable classes of an image, and the right one where it is not among them."""
    scores, label = found.scores, int(found.scores.labels[index])
    named = scores.ranked[index, :THOUGHTS].tolist()
    return [
        {
            "name": found.classes[each],
            "share": f"{float(scores.probabilities[index, each]):.1%}",
            "right": each == label,
        }
        for each in (named if label in named else [*named, label])
    ]


def _costs(found: Findings) -> list[tuple[str, str]]:
    cost = found.metrics.get("cost")
    if cost is None:
        return []
    rows = [
        ("parameters", f"{cost['parameters']:,}"),
        ("multiply-accumulates", f"{cost['macs'] / 1e6:,.0f} million per image"),
        ("weights", f"{cost['weight_bytes'] / 1e6:,.1f} MB"),
    ]
    if (speed := cost["speed"]) is not None:
        middle, slow = speed["latency_ms_median"], speed["latency_ms_p95"]
        rows += [
            ("one image", f"{middle:.2f} ms, 95% of {speed['latency_runs']} within {slow:.2f} ms"),
            ("batches", f"{speed['images_per_second']:,.0f} images per second, {speed['batch_size']} at a time"),
            ("measured on", f"{speed['device']}, {speed['precision']}"),
        ]
    return rows


def _origins(found: Findings) -> list[tuple[str, str]]:
    """Where a number comes from: command, commit, hardware."""

    def commit(git: dict[str, Any]) -> str:
        return f"{git.get('commit') or 'unknown'}{', with changes' if git.get('dirty') else ''}"

    rows = []
    for member in found.members:
        process = member.folder.last_process()
        hardware = process["hardware"]
        rows += [
            ("run", str(member.folder.path)),
            ("trained by", redacted(" ".join(process["command"]))),
            ("commit", commit(process["git"])),
            ("seed", str(member.config.seed)),
            ("trained on", ", ".join(hardware.get("gpus") or [hardware.get("cpu") or "unknown"])),
        ]
    metrics = found.metrics
    asked = f"{metrics['accelerator']}, {metrics['precision']}, commit {commit(metrics['git'])}"
    return [*rows, ("asked on", asked)]
