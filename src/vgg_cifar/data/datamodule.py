"""The LightningDataModule: loads the data set once and hands out device-resident loaders."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from vgg_cifar.data.dataset import Dataset, Split
from vgg_cifar.data.loader import Augment, Batch, EvalLoader, Mix, Normalise, TrainLoader
from vgg_cifar.data.options import DataOptions

log = logging.getLogger(__name__)

TOGETHER = 8192
"""Images that a GPU prepares at a time."""


class DataModule(LightningDataModule):
    """The images of one run.

    Args:
        options: the `data` group.
        seed: the run's seed, for the order of images.
        augment: what happens to training images; None leaves them as they are.
        mix: what happens to each pair of training images; None mixes none.
        mix_until: fraction of the run from which on none are mixed any more, 1 for never; asked as an epoch begins.
        side: from the fraction of the run that has passed to the side of training images in pixels; None leaves them.
        monitor_test: whether the test set is read at every validation too, for the chart only.
        dataset: images to use instead of loading those the options name.

    Attributes:
        dataset: what was loaded, cut to the sizes asked for.
        train: images to learn from.
        val: held-out images, or None.
    """

    def __init__(
        self,
        options: DataOptions,
        seed: int,
        augment: Augment | None = None,
        mix: Mix | None = None,
        side: Callable[[float], int] | None = None,
        *,
        mix_until: float = 1.0,
        monitor_test: bool = False,
        dataset: Dataset | None = None,
    ) -> None:
        super().__init__()
        self.options = options
        self.seed = seed
        self.augment = augment
        self.mix = mix
        self.mix_until = mix_until
        self.side = side
        self.monitor_test = monitor_test
        self.dataset = options.cut(dataset or options.load())
        self.train, self.val = options.hold_out(self.dataset)
        self._resident: dict[str, Split] = {}
        self._test_loader: EvalLoader | None = None

    @property
    def test_reads(self) -> int:
        """How often this process has begun to read the test set."""
        return self._test_loader.reads if self._test_loader else 0

    def train_dataloader(self) -> TrainLoader:
        """The loader of the current epoch's augmented training images."""
        trainer = self._trainer
        return TrainLoader(
            self._on_device("train", self.train),
            self._normalise(),
            batch_size=int(self.options.batch_size),
            seed=self.seed,
            epoch=lambda: trainer.current_epoch,
            augment=self.augment,
            mix=self.mix,
            mixes=self._mixes_in_epoch,
            side=self._side_of_epoch if self.side else None,
            done=lambda: trainer.fit_loop.epoch_loop.batch_progress.current.ready,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            accumulate=trainer.accumulate_grad_batches,
            together=self._batches_together(trainer.world_size * trainer.accumulate_grad_batches),
        )

    def val_dataloader(self) -> list[EvalLoader]:
        """The held-out images, and the test images where they are monitored; empty where there are neither."""
        loaders = []
        if self.val is not None:
            loaders.append(self._evaluation("val", self.val))
        if self.monitor_test:
            loaders.append(self.test_dataloader())
        return loaders

    def test_dataloader(self) -> EvalLoader:
        """The test images."""
        if self._test_loader is None:
            self._test_loader = self._evaluation("test", self.dataset.test)
        return self._test_loader

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Batches are born on the device."""
        return batch

    @property
    def _trainer(self) -> Any:
        if self.trainer is None:
            raise RuntimeError("the loaders belong to a Trainer: pass this DataModule to fit or test")
        return self.trainer

    def _batches_together(self, parts: int) -> int:
        """On a GPU, which is done with one batch before it is told about the next."""
        on_gpu = self._trainer.strategy.root_device.type == "cuda"
        return max(1, TOGETHER * parts // int(self.options.batch_size)) if on_gpu else 1

    def _mixes_in_epoch(self) -> bool:
        return self.mix_until == 1 or self._run_before_epoch() < self.mix_until

    def _side_of_epoch(self) -> int:
        assert self.side is not None
        return self.side(self._run_before_epoch())

    def _run_before_epoch(self) -> float:
        """The fraction of the run that has passed when the current epoch begins."""
        trainer = self._trainer
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        return float(trainer.current_epoch * steps / trainer.estimated_stepping_batches)

    def _evaluation(self, name: str, images: Split) -> EvalLoader:
        trainer = self._trainer
        return EvalLoader(
            self._on_device(name, images),
            self._normalise(),
            batch_size=self.options.eval_batch_size,
            split=name,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )

    def _on_device(self, name: str, images: Split) -> Split:
        if name not in self._resident:
            device = self._trainer.strategy.root_device
            resident = self.options.memory == "device" or (
                self.options.memory == "auto" and _has_room_for(images, device)
            )
            if not resident:
                log.info("The %s images stay in the host's memory; each batch is copied to the device", name)
            self._resident[name] = images.to(device, images=resident)
        return self._resident[name]

    def _normalise(self) -> Normalise:
        return Normalise.of(self.options.mean, self.options.std, self._trainer.strategy.root_device)


def _has_room_for(images: Split, device: torch.device) -> bool:
    """Whether the images take less than half of what is free on the device: the network needs the rest."""
    return device.type != "cuda" or 2 * images.images.nbytes < torch.cuda.mem_get_info(device)[0]
