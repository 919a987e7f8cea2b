"""Batches: the same images and draws however they are dealt out, every image once, normalised as torchvision does."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import transforms

from vgg_cifar.augmentation.batch import Steps
from vgg_cifar.augmentation.geometry import Crop, Flip, Rotation
from vgg_cifar.augmentation.mixing import Mixing
from vgg_cifar.choices import CONF
from vgg_cifar.data.dataset import Split
from vgg_cifar.data.loader import Augment, Batch, EvalLoader, Mix, Normalise, TrainLoader

PLAIN = Normalise.of([0.5, 0.4, 0.3], [0.1, 0.2, 0.3], torch.device("cpu"))
SHIPPED = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))

counts = st.integers(1, 40)
batch_sizes = st.integers(1, 17)
epochs = st.integers(0, 5)
seeds = st.integers(0, 1000)


def split_of(count: int) -> Split:
    """Random images; a label is its image's place, so that a batch tells which images it holds."""
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count))


def augmentation(seed: int) -> Augment:
    return Steps((Crop(seed, 4, "zero"), Flip(seed), Rotation(seed, 15)))


def train_steps(
    count: int,
    *,
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
    augment: Augment | None = None,
    mix: Mix | None = None,
    world_size: int = 1,
    accumulate: int = 1,
    together: int = 1,
) -> list[list[Batch]]:
    """An epoch as its optimizer steps, each as its parts in the order in which they were dealt."""
    split = split_of(count)
    ranks = [
        TrainLoader(
            split,
            PLAIN,
            batch_size=batch_size,
            seed=seed,
            epoch=lambda: epoch,
            augment=augment,
            mix=mix,
            rank=rank,
            world_size=world_size,
            accumulate=accumulate,
            together=together,
        )
        for rank in range(world_size)
    ]
    turns = list(zip(*ranks, strict=True))
    assert all(len(loader) == len(turns) for loader in ranks)
    assert len(turns) % accumulate == 0
    return [
        [batch for turn in turns[start : start + accumulate] for batch in turn]
        for start in range(0, len(turns), accumulate)
    ]


def united(parts: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """The images and labels that count, in the order of the data set."""
    labels = torch.cat([part.labels[: part.count] for part in parts])
    images = torch.cat([part.images[: part.count] for part in parts])
    return images[labels.argsort()], labels.sort().values


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@given(
    count=counts, batch_size=batch_sizes, seed=seeds, epoch=epochs, augmented=st.booleans(), together=st.integers(1, 5)
)
@settings(max_examples=25)
def test_the_parts_of_a_step_are_what_one_device_would_see(
    world_size: int, accumulate: int, count: int, batch_size: int, seed: int, epoch: int, augmented: bool, together: int
) -> None:
    augment = augmentation(seed) if augmented else None
    alone = train_steps(count, batch_size=batch_size, seed=seed, epoch=epoch, augment=augment)
    dealt = train_steps(
        count,
        batch_size=batch_size,
        seed=seed,
        epoch=epoch,
        augment=augment,
        world_size=world_size,
        accumulate=accumulate,
        together=together,
    )
    assert len(dealt) == len(alone)
    for parts, whole in zip(dealt, alone, strict=True):
        images, labels = united(parts)
        expected_images, expected_labels = united(whole)
        assert torch.equal(labels, expected_labels)
        assert torch.equal(images, expected_images)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@given(
    count=counts,
    batch_size=batch_sizes,
    epoch=epochs,
    kind=st.sampled_from(["mixup", "cutmix", "both", "regmixup"]),
    together=st.integers(1, 5),
)
@settings(max_examples=25)
def test_mixtures_are_what_one_device_would_see(
    world_size: int, accumulate: int, count: int, batch_size: int, epoch: int, kind: Any, together: int
) -> None:
    def steps(**dealt: int) -> list[list[Batch]]:
        augment, mix = Steps((Crop(0, 4, "zero"), Flip(0))), Mixing(kind, 1.0, 0.9, seed=0)
        return train_steps(count, batch_size=batch_size, epoch=epoch, augment=augment, mix=mix, **dealt)

    for parts, (whole,) in zip(
        steps(world_size=world_size, accumulate=accumulate, together=together), steps(), strict=True
    ):
        for name in ("images", "labels", "mixed_in", "own_share"):
            # With RegMixup a batch holds two of them, the second of the mixtures.
            found = [getattr(part, name).split(max(part.count, 1)) for part in parts if part.count]
            dealt = torch.cat([torch.cat(each) for each in zip(*found, strict=True)])
            assert torch.equal(dealt, getattr(whole, name)), name
            assert len(dealt) == whole.count * (2 if kind == "regmixup" else 1)


def test_each_image_is_mixed_with_another_of_its_step_augmented_as_that_one_is() -> None:
    def halves(images: Tensor, others: Tensor, indices: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        return (images + others) / 2, torch.full((len(images),), 0.5)

    augment = Steps((Crop(0, 4, "zero"), Flip(0)))
    plain = train_steps(40, batch_size=16, augment=augment)
    for (batch,), (alone,) in zip(train_steps(40, batch_size=16, augment=augment, mix=halves), plain, strict=True):
        assert batch.mixed_in is not None
        assert sorted(batch.mixed_in.tolist()) == sorted(batch.labels.tolist())
        assert not (batch.mixed_in == batch.labels).any()
        pictures = dict(zip(alone.labels.tolist(), alone.images, strict=True))
        for image, own, other in zip(batch.images, batch.labels.tolist(), batch.mixed_in.tolist(), strict=True):
            assert torch.equal(image, (pictures[own] + pictures[other]) / 2)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_with_regmixup_a_batch_is_its_whole_images_and_then_their_mixtures(accumulate: int) -> None:
    dealt: dict[str, Any] = {
        "batch_size": 16,
        "augment": Steps((Crop(0, 4, "zero"), Flip(0))),
        "accumulate": accumulate,
    }
    both, whole, mixed = (
        [batch for step in train_steps(34, mix=mix, **dealt) for batch in step]
        for mix in (Mixing("regmixup", 2.0, 0.9, seed=0), None, Mixing("mixup", 2.0, 0.9, seed=0))
    )
    for found, alone, mixture in zip(both, whole, mixed, strict=True):
        assert found.mixed_in is not None
        assert found.own_share is not None
        assert mixture.mixed_in is not None
        assert mixture.own_share is not None
        assert (found.count, found.total, found.parts, found.share) == (
            alone.count, alone.total, alone.parts, alone.share
        )  # fmt: skip
        assert torch.equal(found.images, torch.cat([alone.images, mixture.images]))
        assert torch.equal(found.labels, torch.cat([alone.labels, alone.labels]))
        assert torch.equal(found.own_share, torch.cat([torch.ones(len(alone.labels)), mixture.own_share]))
        assert torch.equal(found.mixed_in[len(alone.labels) :], mixture.mixed_in)
        assert found.images.is_contiguous(memory_format=torch.channels_last)


def test_a_loader_asks_each_time_it_begins_whether_images_are_mixed() -> None:
    mixes = False
    loader = TrainLoader(
        split_of(20), PLAIN, batch_size=8, seed=0, epoch=lambda: 0, mix=Mixing("regmixup", 1.0, 1.0, seed=0),
        mixes=lambda: mixes,
    )  # fmt: skip
    for found, (alone,) in zip(loader, train_steps(20, batch_size=8), strict=True):
        assert torch.equal(found.images, alone.images)
        assert torch.equal(found.labels, alone.labels)
        assert found.mixed_in is found.own_share is None
    mixes = True
    assert [len(batch.images) for batch in loader] == [16, 16, 8]


@pytest.mark.parametrize("accumulate", [1, 3])
@given(count=counts, batch_size=batch_sizes, data=st.data())
@settings(max_examples=25)
def test_an_epoch_gone_on_with_continues_with_the_very_next_batch(
    accumulate: int, count: int, batch_size: int, data: st.DataObject
) -> None:
    augment = Steps((Crop(0, 4, "zero"), Flip(0)))
    done = 0
    loader = TrainLoader(
        split_of(count), PLAIN, batch_size=batch_size, seed=0, epoch=lambda: 2, augment=augment,
        accumulate=accumulate, done=lambda: done,
    )  # fmt: skip
    whole = list(loader)
    done = data.draw(st.integers(0, len(whole)))
    rest = list(loader)
    assert len(rest) == len(whole) - done
    for found, expected in zip(rest, whole[done:], strict=True):
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.labels, expected.labels)
        assert found.count == expected.count


@pytest.mark.parametrize("side", [16, 20, 24, 32, 48])
def test_images_are_resized_as_torchvision_does(side: int) -> None:
    loader = TrainLoader(split_of(6), PLAIN, batch_size=6, seed=0, epoch=lambda: 0, side=lambda: side)
    (batch,) = loader
    (whole,) = TrainLoader(split_of(6), PLAIN, batch_size=6, seed=0, epoch=lambda: 0)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch.images, transforms.functional.resize(whole.images, [side, side], antialias=True))


def test_images_in_the_hosts_memory_reach_the_labels_device() -> None:
    split = split_of(10)
    away = split.to(torch.device("meta"), images=False)
    assert away.images.device == split.images.device
    normalise = Normalise.of([0.5] * 3, [0.2] * 3, torch.device("meta"))
    mix = Mixing("cutmix", 1.0, 1.0, seed=0)
    for loader in (
        EvalLoader(away, normalise, batch_size=4, split="test"),
        TrainLoader(away, normalise, batch_size=4, seed=0, epoch=lambda: 0),
        TrainLoader(away, normalise, batch_size=4, seed=0, epoch=lambda: 0, mix=mix, accumulate=2),
    ):
        for batch in loader:
            assert batch.images.device.type == batch.labels.device.type == "meta"
            assert batch.images.shape == (batch.count, 3, 32, 32)


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 3), (2, 2), (3, 3)])
@given(count=counts, batch_size=batch_sizes)
@settings(max_examples=25)
def test_a_step_is_dealt_evenly_and_weighted_so_that_the_average_of_its_parts_is_the_mean_over_its_images(
    world_size: int, accumulate: int, count: int, batch_size: int
) -> None:
    def quantity(labels: Tensor) -> Tensor:
        return (labels.double() + 1).sqrt()

    for parts in train_steps(count, batch_size=batch_size, world_size=world_size, accumulate=accumulate):
        sizes = [part.count for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert all(len(part.labels) == max(part.count, 1) for part in parts)  # a stand-in keeps a rank in step
        assert {part.total for part in parts} == {sum(sizes)}
        assert {part.parts for part in parts} == {len(parts)}
        mean = float(quantity(united(parts)[1]).mean())
        weighted = [part.share * float(quantity(part.labels).mean()) for part in parts]
        assert sum(weighted) / len(parts) == pytest.approx(mean, rel=1e-12)


@given(count=counts, batch_size=batch_sizes, seed=seeds, epoch=epochs)
@settings(max_examples=50)
def test_every_image_comes_exactly_once_per_epoch_in_full_batches_but_the_last(
    count: int, batch_size: int, seed: int, epoch: int
) -> None:
    steps = train_steps(count, batch_size=batch_size, seed=seed, epoch=epoch)
    seen = torch.cat([batch.labels for (batch,) in steps])
    assert sorted(seen.tolist()) == list(range(count))
    sizes = [batch.count for (batch,) in steps]
    assert sizes[:-1] == [batch_size] * (math.ceil(count / batch_size) - 1)


def test_the_order_depends_on_epoch_and_seed_and_on_nothing_else() -> None:
    def order(**when: int) -> tuple[int, ...]:
        torch.manual_seed(len(orders))
        return tuple(torch.cat([batch.labels for (batch,) in train_steps(40, batch_size=16, **when)]).tolist())

    orders: list[tuple[int, ...]] = []
    for seed in range(3):
        for epoch in range(3):
            orders.append(order(seed=seed, epoch=epoch))
    assert len(set(orders)) == len(orders)
    assert order(seed=0, epoch=0) == orders[0]


def test_a_loader_asks_for_the_epoch_each_time_it_begins() -> None:
    epoch = 0
    loader = TrainLoader(split_of(20), PLAIN, batch_size=20, seed=0, epoch=lambda: epoch)
    (first,) = loader
    epoch = 1
    (second,) = loader
    assert not torch.equal(first.labels, second.labels)
    assert torch.equal(second.labels, train_steps(20, batch_size=20, epoch=1)[0][0].labels)


def test_augmentation_gets_the_places_of_its_images_and_the_epoch() -> None:
    split = split_of(10)
    seen: list[int] = []

    def augment(images: Tensor, indices: Tensor, epoch: int) -> Tensor:
        assert torch.equal(images, split.images[indices])
        assert epoch == 7
        seen.extend(indices.tolist())
        return 255 - images

    loader = TrainLoader(split, PLAIN, batch_size=4, seed=0, epoch=lambda: 7, augment=augment)
    for batch in loader:
        assert torch.equal(batch.images, PLAIN(255 - split.images[batch.labels]))
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@given(count=counts, batch_size=batch_sizes)
@settings(max_examples=40)
def test_evaluation_sees_every_image_once_in_batches_that_are_never_divided(
    world_size: int, count: int, batch_size: int
) -> None:
    split = split_of(count)
    ranks = [
        EvalLoader(split, PLAIN, batch_size=batch_size, split="val", rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    turns = list(zip(*ranks, strict=True))
    assert all(len(loader) == len(turns) for loader in ranks)
    batches = [batch for turn in turns for batch in turn]
    assert all(len(batch.labels) == max(batch.count, 1) for batch in batches)  # a stand-in keeps a rank in step
    assert all(batch.share == (1 if batch.count else 0) for batch in batches)
    counted = [batch for batch in batches if batch.count]
    expected = split.labels.split(batch_size)
    assert [batch.labels.tolist() for batch in counted] == [labels.tolist() for labels in expected]
    for batch in counted:
        assert torch.equal(batch.images, PLAIN(split.images[batch.labels]))
        assert batch.split == "val"


def test_an_evaluation_loader_counts_how_often_it_was_read() -> None:
    loader = EvalLoader(split_of(5), PLAIN, batch_size=2, split="test")
    assert loader.reads == 0
    assert len(list(loader)) == len(list(loader)) == len(loader)
    assert loader.reads == 2


@pytest.mark.parametrize("name", SHIPPED)
def test_normalising_equals_torchvisions_for_every_value_a_pixel_can_have(name: str) -> None:
    shipped = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text())
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(2, 3, 1, 1)
    images[1] = images[1].flip(0, 1, 2)
    reference = transforms.Compose([transforms.ToTensor(), transforms.Normalize(shipped["mean"], shipped["std"])])
    expected = torch.stack([reference(image.permute(1, 2, 0).numpy()) for image in images])
    ours = Normalise.of(shipped["mean"], shipped["std"], torch.device("cpu"))(images)
    assert (ours - expected).abs().max() < 1e-6


@pytest.mark.parametrize("augment", [None, augmentation(0)], ids=["plain", "augmented"])
def test_batches_are_float32_and_channels_last_and_leave_the_resident_images_alone(augment: Augment | None) -> None:
    split = split_of(10)
    before = split.images.clone()
    loaders = [
        TrainLoader(split, PLAIN, batch_size=4, seed=0, epoch=lambda: 0, augment=augment),
        EvalLoader(split, PLAIN, batch_size=4, split="test"),
    ]
    for loader in loaders:
        for batch in loader:
            assert batch.images.dtype == torch.float32
            assert batch.images.shape == (batch.count, 3, 32, 32)
            assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(split.images, before)
