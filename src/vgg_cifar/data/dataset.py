"""Images and labels as tensors, and the seeded, stratified ways to take a part of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vgg_cifar import draws
from vgg_cifar.errors import UserError


@dataclass(frozen=True)
class Split:
    """Some images with their labels.

    Attributes:
        images: uint8 [n, 3, 32, 32], RGB, on the labels' device or in the host's memory.
        labels: int64 [n], the class of each image.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Split:
        """The images at the given places, int64 [m]."""
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device, *, images: bool = True) -> Split:
        """The same on another device, or only the labels; images channels last in memory, as a network takes them."""
        moved = self.images.to(device if images else self.images.device, memory_format=torch.channels_last)
        return Split(moved, self.labels.to(device))

    def classes(self, chosen: Tensor) -> Tensor:
        """The labels at some places, int64 [m], which lie on the images' device."""
        return self.labels[chosen.to(self.labels.device, non_blocking=True)]

    def pictures(self, chosen: Tensor | slice) -> Tensor:
        """uint8 [m, 3, 32, 32] on the labels' device: the images at some places, int64 [m] on the images' device."""
        if isinstance(chosen, Tensor):
            # Images lie channels last, so that each is one piece of memory, which only this way of choosing sees.
            picked = self.images.permute(0, 2, 3, 1).index_select(0, chosen).permute(0, 3, 1, 2)
        else:
            picked = self.images[chosen]
        if self.images.device == self.labels.device:
            return picked
        if self.labels.device.type == "cuda":
            picked = picked.pin_memory()  # so that the copy does not hold up the host
        return picked.to(self.labels.device, non_blocking=True)


@dataclass(frozen=True)
class Dataset:
    """A data set as its authors split it.

    Attributes:
        train: the training images.
        test: the test images.
        classes: a name per class.
        superclasses: a name per superclass; empty where there are none.
        superclass_of: int64 [classes], the superclass of each class; None where there are none.
        hashes: SHA-256 (or the authors' MD5) of each file read, or what else pins the images down.
    """

    train: Split
    test: Split
    classes: list[str]
    superclasses: list[str]
    superclass_of: Tensor | None
    hashes: dict[str, str]

    @property
    def superclass_names(self) -> list[str]:
        """Of each class, the name of its superclass; empty where there are none."""
        return [] if self.superclass_of is None else [self.superclasses[place] for place in self.superclass_of.tolist()]

    def part(self, train_size: int | None, test_size: int | None, seed: int) -> Dataset:
        """A smaller data set with the same share of every class; None keeps all.

        Raises:
            UserError: if more images are asked for than there are.
        """
        train, test = self.train, self.test
        if train_size is not None:
            train = train.take(stratified(train.labels, train_size, seed, "data.train_size"))
        if test_size is not None:
            test = test.take(stratified(test.labels, test_size, seed, "data.test_size"))
        return replace(self, train=train, test=test)

    def hold_out(self, fraction: float, seed: int) -> tuple[Split, Split | None]:
        """Training images split into those to learn from and those to validate on (None for a fraction of 0).

        Raises:
            UserError: if the fraction leaves no image on one of the two sides.
        """
        if fraction == 0:
            return self.train, None
        count = round(fraction * len(self.train))
        if not 0 < count < len(self.train):
            raise UserError(f"data.val_fraction: {fraction} of {len(self.train)} training images leaves one side empty")
        held_out = stratified(self.train.labels, count, seed, "data.val_fraction")
        kept = torch.ones(len(self.train), dtype=torch.bool)
        kept[held_out] = False
        return self.train.take(kept.nonzero().flatten()), self.train.take(held_out)


def stratified(labels: Tensor, count: int, seed: int, what: str) -> Tensor:
    """Choose images so that each class keeps its share, to within one image.

    Args:
        labels: int64 [n].
        count: how many to choose, at most n.
        seed: decides which.
        what: the option that asks, named in the error and mixed into the seed.

    Returns:
        int64 [count], ascending. A smaller count with the same seed chooses a subset of each class's choice.

    Raises:
        UserError: if `count` exceeds n.
    """
    if count > len(labels):
        raise UserError(f"{what}: {count} images were asked for, there are {len(labels)}")
    sizes = torch.bincount(labels)
    exact = sizes.double() * count / len(labels)
    quota = exact.floor().long()
    # What the floors leave over goes to the largest remainders, ties in a seeded order of classes.
    ties = draws.order(len(sizes), seed, what, "ties").argsort()
    leftover = count - int(quota.sum())
    ranking = sorted(range(len(sizes)), key=lambda c: (-float(exact[c] - quota[c]), int(ties[c])))
    quota[ranking[:leftover]] += 1
    chosen = []
    for c, size in enumerate(quota.tolist()):
        members = (labels == c).nonzero().flatten()
        chosen.append(members[draws.order(len(members), seed, what, c)[:size]])
    return torch.cat(chosen).sort().values
