"""How many augmented, normalised images a second, beside torchvision?

    python benchmarks/input_pipeline.py [rounds=3] [policies=standard,...] [images=5000] [batch_size=128] [json=PATH]

For each choice of `augmentation` that torchvision can match, these sides take turns on the same generated images:

* TrainLoader: what train.py trains on, with draws of its own for every image.
* torchvision v1: transforms of PIL images behind a DataLoader, as nearly everybody writes it.
* torchvision v2: transforms of uint8 tensors, image by image, behind a DataLoader.
* v2, one draw per batch: the same transforms of whole batches. No substitute: a batch's images are all moved alike.

On a CPU everything has one thread in one process: images/s per core. On a GPU the rates are those at which batches are
ready on it, with a worker process per core (eight at most) in the DataLoaders, and `images` is 50000.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms as v1
from torchvision.transforms import v2

from rounds import SYNTHETIC, Arguments, Measured, Side, about, device, keep, take_turns
from train_step import Pictures
from vgg_cifar import hardware
from vgg_cifar.choices import CONF
from vgg_cifar.command_line import guard, register_resolvers
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import Config
from vgg_cifar.data.dataset import Split
from vgg_cifar.parts import make_datamodule

Transforms = Callable[[Any], list[Any]]
Batches = Callable[[], Iterable[Any]]


@dataclass(frozen=True)
class Policy:
    """What torchvision does beyond crop and flip; `v` is either of its modules of transforms.

    Attributes:
        before: to the image.
        after: to the normalised tensor.
        mix: to a batch and its labels.
    """

    before: Transforms = lambda _: []
    after: Transforms = lambda _: []
    mix: Callable[..., Any] | None = None


POLICIES = {
    "standard": Policy(),
    "rotate": Policy(before=lambda v: [v.RandomRotation(15)]),
    "trivial": Policy(before=lambda v: [v.TrivialAugmentWide()]),
    "rand": Policy(before=lambda v: [v.RandAugment()]),
    "auto": Policy(before=lambda v: [v.AutoAugment(v1.AutoAugmentPolicy.CIFAR10)]),
    "cutout": Policy(after=lambda v: [v.RandomErasing(1.0, (0.0625, 0.0625), (1.0, 1.0))]),  # 8x8, wholly inside
    "erase": Policy(after=lambda v: [v.RandomErasing()]),
    "mixup": Policy(mix=v2.MixUp(num_classes=100)),
    "cutmix": Policy(mix=v2.CutMix(num_classes=100)),
}


class Tensors(Dataset[Any]):
    """Images as uint8 tensors, transformed one by one."""

    def __init__(self, images: Split, transform: Callable[[Tensor], Tensor]) -> None:
        self.images, self.labels, self.transform = images.images, images.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def train_loader(config: Config, where: torch.device) -> Batches:
    """A run's own loader of training images, an epoch further at each call."""
    datamodule = make_datamodule(config)
    trainer = SimpleNamespace(
        current_epoch=0, global_rank=0, world_size=1, accumulate_grad_batches=1,
        strategy=SimpleNamespace(root_device=where),
    )  # fmt: skip
    datamodule.trainer = cast(Any, trainer)
    loader = datamodule.train_dataloader()

    def batches() -> Iterator[Any]:
        trainer.current_epoch += 1
        yield from loader.after(0)

    return batches


def data_loader(dataset: Dataset[Any], policy: Policy, size: int, where: torch.device) -> Batches:
    """Torch's loader, its batches copied to the device."""
    gpu = where.type == "cuda"
    workers = min(os.cpu_count() or 1, 8) if gpu else 0
    loader = DataLoader[Any](
        dataset, size, True, num_workers=workers, persistent_workers=workers > 0, pin_memory=gpu,
        collate_fn=partial(mixed, policy.mix) if policy.mix else None,
    )  # fmt: skip

    def batches() -> Iterator[Any]:
        for images, labels in loader:
            yield images.to(where, non_blocking=True), labels.to(where, non_blocking=True)

    return batches


def mixed(mix: Callable[..., Any], batch: list[Any]) -> Any:
    """Collate, then mix, as torchvision's documentation has it."""
    return mix(*default_collate(batch))


def whole_batches(images: Split, transform: nn.Module, policy: Policy, size: int) -> Batches:
    """Batches cut out of a shuffled set that lies on the device, each transformed as if it were one image."""

    def batches() -> Iterator[Any]:
        for chosen in torch.randperm(len(images), device=images.labels.device).split(size):
            batch = transform(images.images[chosen]), images.labels[chosen]
            yield policy.mix(*batch) if policy.mix else batch

    return batches


def images_per_second(batches: Batches, count: int, where: torch.device) -> float:
    """The rate of one pass over `count` images."""
    hardware.synchronise(where)
    start = time.perf_counter()
    for _ in batches():
        pass
    hardware.synchronise(where)
    return count / (time.perf_counter() - start)


def compare(name: str, count: int, size: int, rounds: int) -> Measured:
    """All sides, with one augmentation."""
    where, policy = device(), POLICIES[name]
    overrides = [*SYNTHETIC, f"augmentation={name}", f"data.train_size={count}", f"data.batch_size={size}"]
    config = compose_and_check(overrides)[1]
    images = config.data.load().train
    mean, std = config.data.mean, config.data.std
    crop_and_flip: Transforms = lambda v: [v.RandomCrop(32, padding=4), v.RandomHorizontalFlip()]  # noqa: E731
    of_pictures = v1.Compose(
        [*crop_and_flip(v1), *policy.before(v1), v1.ToTensor(), v1.Normalize(mean, std), *policy.after(v1)]
    )
    to_float = v2.ToDtype(torch.float32, scale=True)
    of_tensors = v2.Compose(
        [*crop_and_flip(v2), *policy.before(v2), to_float, v2.Normalize(mean, std), *policy.after(v2)]
    )
    pipelines = {
        "TrainLoader": train_loader(config, where),
        "torchvision v1": data_loader(Pictures(images, of_pictures), policy, size, where),
        "torchvision v2": data_loader(Tensors(images, of_tensors), policy, size, where),
        "v2, one draw per batch": whole_batches(images.to(where), of_tensors, policy, size),
    }
    sides: dict[str, Side] = {
        side: partial(images_per_second, batches, count, where) for side, batches in pipelines.items()
    }
    for measure in sides.values():
        measure()  # workers start, libraries load
    unit = "images/s" if where.type == "cuda" else "images/s per core"
    return take_turns(name, unit, sides, rounds, ["torchvision v1"])


def main() -> None:
    choices = {path.stem for path in (CONF / "augmentation").glob("*.yaml")}
    gpu = device().type == "cuda"
    matched = [name for name in POLICIES if name in choices]
    given = Arguments(
        rounds="3", policies=",".join(matched), images="50000" if gpu else "5000", batch_size="128", json=""
    )
    policies = given.chosen("policies", matched)
    rounds, count, size = (given.count(key) for key in ("rounds", "images", "batch_size"))
    register_resolvers()
    if not gpu:
        torch.set_num_threads(1)
    record, tables = about(), []
    for name in policies:
        tables.append(compare(name, count, size, rounds))
        keep(given.file, record, tables)


if __name__ == "__main__":
    guard(main, __doc__)
