"""Scores: scikit-learn finds the same."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from torchmetrics.functional.classification import multiclass_calibration_error

from vgg_cifar.evaluation.scores import Scores

NEAR = pytest.approx


def made_up(seed: int, images: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are right now and then, and labels among which some classes may be missing."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=generator)
    logits = torch.randn(images, classes, generator=generator) * 2
    logits[torch.arange(images), labels] += 1.5
    return logits, labels


@given(seed=st.integers(0, 1000), images=st.integers(1, 60), classes=st.integers(6, 12))
def test_scikit_learn_finds_the_same(seed: int, images: int, classes: int) -> None:
    logits, labels = made_up(seed, images, classes)
    superclass_of = torch.arange(classes) // 3
    found = Scores.of(logits, labels, superclass_of).metrics()
    said, right = logits.argmax(1).numpy(), labels.numpy()
    for name, judge in (
        ("precision", metrics.precision_score), ("recall", metrics.recall_score), ("f1", metrics.f1_score),
    ):  # fmt: skip
        assert found[f"macro_{name}"] == NEAR(judge(right, said, average="macro", zero_division=0), abs=1e-9)
    names = list(range(classes))
    assert found["top1"] == NEAR(metrics.accuracy_score(right, said), abs=1e-9)
    assert found["top5"] == NEAR(metrics.top_k_accuracy_score(right, logits.numpy(), k=5, labels=names), abs=1e-9)
    assert found["superclass_top1"] == NEAR(metrics.accuracy_score(right // 3, said // 3), abs=1e-9)
    probabilities = logits.double().softmax(1)
    assert found["loss"] == NEAR(metrics.log_loss(right, probabilities.numpy(), labels=names), abs=1e-6)
    theirs = multiclass_calibration_error(probabilities, labels, num_classes=classes, n_bins=15)
    assert found["ece"] == NEAR(float(theirs), abs=1e-6)


def test_confusion_has_a_row_per_class_and_a_column_per_answer() -> None:
    logits, labels = made_up(1, 500, 8)
    scores = Scores.of(logits, labels, torch.arange(8) // 4)
    expected = metrics.confusion_matrix(labels.numpy(), logits.argmax(1).numpy(), labels=range(8))
    assert scores.confusion.tolist() == expected.tolist()
    assert scores.superclass_confusion is not None
    assert scores.superclass_confusion[0, 1] == expected[:4, 4:].sum()
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(labels.numpy(), logits.argmax(1).numpy())
    for ours, theirs in ((scores.precision, precision), (scores.recall, recall), (scores.f1, f1)):
        assert ours.tolist() == NEAR(theirs.tolist(), abs=1e-12)


def test_the_most_confused_pairs_come_first_and_no_right_answer_is_among_them() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    answers = torch.tensor([0, 2, 2, 2, 0, 1, 2])
    scores = Scores.of(torch.nn.functional.one_hot(answers, 6).float(), labels)
    assert scores.confused(10) == [(0, 2, 3), (1, 0, 1)]
    assert scores.confused(1) == [(0, 2, 3)]


def test_what_is_thought_as_probable_counts_as_the_network_ranks_it() -> None:
    """Among equal logits one is named; the same one in the confusion, the accuracy and the confidence."""
    logits = torch.zeros(4, 7)
    scores = Scores.of(logits, torch.tensor([0, 1, 2, 3]))
    assert scores.confusion.diagonal().sum() == scores.right.sum() == round(4 * scores.metrics()["top1"])
    assert scores.confidence.tolist() == NEAR([1 / 7] * 4)
