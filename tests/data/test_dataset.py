"""Taking a part of the images: stratified, seeded, with nothing lost and nothing shared."""

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from vgg_cifar.data.dataset import Dataset, Split, stratified
from vgg_cifar.errors import UserError

some_labels = st.lists(st.integers(0, 6), min_size=1, max_size=60).map(torch.tensor)
seeds = st.integers(0, 2**32)


def split_of(labels: Tensor) -> Split:
    """Images that carry their own place in the set as their first pixel."""
    images = torch.zeros(len(labels), 3, 32, 32, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(len(labels))
    return Split(images, labels)


def places(split: Split) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


def dataset_of(train: Tensor, test: Tensor | None = None) -> Dataset:
    test = torch.arange(10) if test is None else test
    return Dataset(
        train=split_of(train),
        test=split_of(test),
        classes=[f"class {c}" for c in range(10)],
        superclasses=["low", "high"],
        superclass_of=torch.arange(10) // 5,
        hashes={"file": "digest"},
    )


@given(labels=some_labels, seed=seeds, data=st.data())
@settings(max_examples=200)
def test_every_class_keeps_its_share_to_within_one_image(labels: Tensor, seed: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(labels)))
    chosen = stratified(labels, count, seed, "data.train_size")
    assert len(chosen) == count
    assert chosen.dtype == torch.int64
    assert all(earlier < later for earlier, later in pairwise(chosen.tolist()))
    assert all(0 <= index < len(labels) for index in chosen.tolist())
    for c in set(labels.tolist()):
        exact = Fraction(labels.tolist().count(c) * count, len(labels))
        assert abs(labels[chosen].tolist().count(c) - exact) < 1


@given(labels=some_labels, seed=seeds, data=st.data())
@settings(max_examples=100)
def test_of_two_choices_with_one_seed_each_class_has_one_inside_the_other(
    labels: Tensor, seed: int, data: st.DataObject
) -> None:
    sizes = st.integers(0, len(labels))
    one, other = (set(stratified(labels, data.draw(sizes), seed, "what").tolist()) for _ in range(2))
    for c in set(labels.tolist()):
        members = set((labels == c).nonzero().flatten().tolist())
        smaller, larger = sorted((one & members, other & members), key=len)
        assert smaller <= larger


@given(classes=st.integers(1, 6), each=st.integers(1, 10), seed=seeds, data=st.data())
@settings(max_examples=100)
def test_with_classes_of_one_size_a_smaller_choice_lies_in_a_larger_one(
    classes: int, each: int, seed: int, data: st.DataObject
) -> None:
    labels = torch.arange(classes * each) % classes
    small = data.draw(st.integers(0, len(labels)))
    large = data.draw(st.integers(small, len(labels)))
    chosen = stratified(labels, small, seed, "what").tolist()
    assert set(chosen) <= set(stratified(labels, large, seed, "what").tolist())


def test_the_choice_depends_on_the_seed_and_on_what_it_is_for() -> None:
    labels = torch.arange(1000) % 10
    choice = stratified(labels, 100, 0, "data.train_size")
    assert torch.equal(choice, stratified(labels, 100, 0, "data.train_size"))
    assert not torch.equal(choice, stratified(labels, 100, 1, "data.train_size"))
    assert not torch.equal(choice, stratified(labels, 100, 0, "data.val_fraction"))


def test_the_images_that_shares_leave_over_do_not_always_go_to_the_same_classes() -> None:
    labels = torch.arange(100) % 10
    favoured = {tuple(labels[stratified(labels, 5, seed, "what")].sort().values.tolist()) for seed in range(20)}
    assert len(favoured) > 1


def test_more_images_than_there_are_cannot_be_chosen() -> None:
    with pytest.raises(UserError, match=r"^data\.train_size: 11 images were asked for, there are 10$"):
        stratified(torch.arange(10), 11, 0, "data.train_size")


@given(labels=some_labels, seed=seeds, fraction=st.floats(0.01, 0.99))
@settings(max_examples=100)
def test_holding_out_loses_no_image_and_shares_none(labels: Tensor, seed: int, fraction: float) -> None:
    count = round(fraction * len(labels))
    assume(0 < count < len(labels))
    train, val = dataset_of(labels).hold_out(fraction, seed)
    assert val is not None
    assert len(val) == count
    assert sorted(places(train) + places(val)) == list(range(len(labels)))
    for part in (train, val):
        assert part.labels.tolist() == [int(labels[place]) for place in places(part)]


def test_a_fraction_of_zero_holds_nothing_out() -> None:
    dataset = dataset_of(torch.arange(10))
    train, val = dataset.hold_out(0, seed=3)
    assert val is None
    assert places(train) == places(dataset.train)


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_a_fraction_that_leaves_one_side_empty_is_refused(fraction: float) -> None:
    with pytest.raises(UserError, match=rf"^data\.val_fraction: {fraction} of 10 "):
        dataset_of(torch.arange(10)).hold_out(fraction, seed=0)


def test_a_part_keeps_the_shares_of_both_splits_and_all_names() -> None:
    whole = dataset_of(torch.arange(200) % 10, torch.arange(100) % 10)
    part = whole.part(train_size=50, test_size=20, seed=0)
    assert torch.bincount(part.train.labels).tolist() == [5] * 10
    assert torch.bincount(part.test.labels).tolist() == [2] * 10
    assert (part.classes, part.superclasses, part.hashes) == (whole.classes, whole.superclasses, whole.hashes)
    assert part.superclass_of is whole.superclass_of


def test_a_part_without_sizes_is_the_whole() -> None:
    whole = dataset_of(torch.arange(30) % 10)
    part = whole.part(None, None, seed=0)
    assert places(part.train) == places(whole.train)
    assert places(part.test) == places(whole.test)


@pytest.mark.parametrize(
    ("train_size", "test_size", "option"), [(31, None, "data.train_size"), (None, 11, "data.test_size")]
)
def test_a_part_larger_than_the_whole_is_refused(train_size: int | None, test_size: int | None, option: str) -> None:
    with pytest.raises(UserError, match=f"^{option}: "):
        dataset_of(torch.arange(30) % 10).part(train_size, test_size, seed=0)
