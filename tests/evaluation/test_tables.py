"""Tables: every number can be found again from them."""

import csv
import io
import math
from collections.abc import Callable

import pytest
from asked import asked
from sklearn import metrics

from vgg_cifar.evaluation import tables
from vgg_cifar.evaluation.findings import Findings
from vgg_cifar.runs.folder import RunFolder


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def found(train: Callable[..., RunFolder]) -> Findings:
    return asked(train("data.val_fraction=0.2", "optimizer.lr=0.02"))


def test_every_number_is_found_again_from_the_predictions(found: Findings) -> None:
    predictions, stated = rows(tables.predictions(found)), found.metrics
    label, said = ([int(row[name]) for row in predictions] for name in ("label", "predicted"))
    near = pytest.approx
    assert len(predictions) == stated["images"]
    assert stated["test/top1"] == near(metrics.accuracy_score(label, said), abs=1e-6)
    coarse = ([row[name] for row in predictions] for name in ("superclass", "predicted_superclass"))
    assert stated["test/superclass_top1"] == near(metrics.accuracy_score(*coarse), abs=1e-6)
    for name, judge in (
        ("precision", metrics.precision_score), ("recall", metrics.recall_score), ("f1", metrics.f1_score),
    ):  # fmt: skip
        again = judge(label, said, average="macro", zero_division=0)
        assert stated[f"test/macro_{name}"] == near(again, abs=1e-6)
    top5 = [row["class"] in [row[f"top{place}"] for place in range(1, 6)] for row in predictions]
    assert stated["test/top5"] == near(sum(top5) / len(top5), abs=1e-6)
    for loss, ece, probability, confidence in (
        ("test/loss", "test/ece", "label_probability", "confidence"),
        ("test/calibrated_loss", "test/calibrated_ece", "calibrated_label_probability", "calibrated_confidence"),
    ):
        losses = [-math.log(float(row[probability])) for row in predictions]
        assert stated[loss] == near(sum(losses) / len(losses), abs=1e-6)
        assert stated[ece] == near(calibration_error([float(row[confidence]) for row in predictions],
                                                     [int(row["right"]) for row in predictions]), abs=1e-6)  # fmt: skip


def calibration_error(confidences: list[float], right: list[int], bins: int = 15) -> float:
    """As the paper has it, in plain Python."""
    error = 0.0
    for place in range(bins):
        chosen = [i for i, value in enumerate(confidences) if place / bins < value <= (place + 1) / bins]
        error += abs(sum(right[i] for i in chosen) - sum(confidences[i] for i in chosen))
    return error / len(confidences)


def test_a_row_per_class_says_how_it_was_recognised(found: Findings) -> None:
    label, said = found.scores.labels.numpy(), found.scores.predicted.numpy()
    names = range(len(found.classes))
    precision, recall, f1, images = metrics.precision_recall_fscore_support(label, said, labels=names, zero_division=0)
    table = rows(tables.per_class(found))
    assert [row["class"] for row in table] == found.classes
    assert [int(row["images"]) for row in table] == images.tolist()
    for name, theirs in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert [float(row[name]) for row in table] == pytest.approx(theirs.tolist(), abs=1e-9)
    assert sum(int(row["predicted"]) for row in table) == found.metrics["images"]
    worst = max(table, key=lambda row: int(row["confused_images"]))
    pair = found.metrics["confused"][0]
    assert (int(worst["confused_images"]), worst["class"]) == (pair["images"], pair["class"])
