"""Loss and accuracies: exact sums, equal to torchmetrics', whatever the batches or ranks they were counted in."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchmetrics.classification import MulticlassAccuracy

from vgg_cifar.metrics import Tally

CLASSES, COUNT = 20, 300
SUPERCLASS_OF = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(7)) % 4


def answers(count: int = COUNT, classes: int = CLASSES) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels and losses of a network that is right now and then."""
    generator = torch.Generator().manual_seed(count)
    labels = torch.randint(0, classes, (count,), generator=generator)
    logits = torch.randn(count, classes, generator=generator) + 1.5 * F.one_hot(labels, classes)
    return logits, labels, F.cross_entropy(logits, labels, reduction="none")


def tally(*parts: tuple[Tensor, Tensor, Tensor]) -> Tally:
    counted = Tally(top=(1, 5), superclass_of=SUPERCLASS_OF)
    for part in parts:
        counted.update(*part)
    return counted


def cut(sizes: list[int]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """All answers in batches of the given sizes, and one of what is left."""
    sizes = [*sizes, COUNT - sum(sizes)]
    return list(zip(*(values.split(sizes) for values in answers()), strict=True))


@pytest.mark.parametrize("k", [1, 5])
def test_accuracy_equals_torchmetrics(k: int) -> None:
    logits, labels, _ = answers()
    expected = MulticlassAccuracy(num_classes=CLASSES, top_k=k, average="micro")(logits, labels)
    assert 0 < expected < 1
    assert float(tally(answers()).compute()[f"top{k}"]) == pytest.approx(float(expected), abs=1e-7)


def test_loss_is_the_mean_of_the_losses() -> None:
    losses = answers()[2].tolist()
    assert float(tally(answers()).compute()["loss"]) == pytest.approx(math.fsum(losses) / len(losses), rel=1e-12)


def test_superclass_accuracy_counts_guesses_of_any_class_of_the_right_superclass() -> None:
    logits, labels, _ = answers()
    above = SUPERCLASS_OF.tolist()
    right = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        guess = max(range(CLASSES), key=lambda c: row[c])
        right += above[guess] == above[label]
    found = tally(answers()).compute()
    assert float(found["superclass_top1"]) == pytest.approx(right / COUNT, rel=1e-12)
    assert found["superclass_top1"] > found["top1"]


def test_accuracy_of_each_group_is_that_of_its_own_images_whatever_the_batches_and_ranks() -> None:
    logits, labels, _ = answers()
    expected = []
    for group in range(4):
        own = SUPERCLASS_OF[labels] == group
        expected.append(float((logits[own].argmax(1) == labels[own]).double().mean()))
    one, other = Tally(group_of=SUPERCLASS_OF), Tally(group_of=SUPERCLASS_OF)
    first, second, third = cut([70, 120])
    one.update(*first)
    one.update(*second)
    other.update(*third)
    one.merge_state(other)
    assert one.compute()["top1_by_group"].tolist() == pytest.approx(expected, rel=1e-12)
    resumed = Tally(group_of=SUPERCLASS_OF)
    resumed.resume(one.sums())
    assert resumed.compute()["top1_by_group"].tolist() == pytest.approx(expected, rel=1e-12)


@given(sizes=st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=30)
def test_how_images_are_batched_does_not_matter(sizes: list[int]) -> None:
    whole, batched = tally(answers()).compute(), tally(*cut(sizes)).compute()
    assert batched.keys() == whole.keys()
    for name, value in whole.items():
        assert float(batched[name]) == pytest.approx(float(value), rel=1e-12)


@given(first=st.integers(0, COUNT))
@settings(max_examples=20)
def test_the_sums_of_two_ranks_add_up_to_the_whole(first: int) -> None:
    one, other = cut([first])
    united = tally(one)
    united.merge_state(tally(other))
    whole = tally(answers()).compute()
    for name, value in united.compute().items():
        assert float(value) == pytest.approx(float(whole[name]), rel=1e-12)


def test_only_what_was_asked_for_is_counted() -> None:
    counted = Tally()
    counted.update(*answers())
    assert counted.compute().keys() == {"loss", "top1"}


def test_with_fewer_classes_than_guesses_every_image_is_right() -> None:
    counted = Tally(top=(1, 5))
    counted.update(*answers(classes=3))
    found = counted.compute()
    assert found["top5"] == 1
    assert found["top1"] < 1


def test_before_the_first_image_and_after_a_reset_nothing_is_known() -> None:
    counted = tally()
    assert all(value.isnan() for value in counted.compute().values())
    counted.update(*answers())
    assert not any(value.isnan() for value in counted.compute().values())
    counted.reset()
    assert all(value.isnan() for value in counted.compute().values())
