"""The parts of a run, made from its configuration: images, classifier, trainer."""

from __future__ import annotations

import logging
import math
import os
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler

from vgg_cifar import draws, hardware
from vgg_cifar.classifier import Classifier
from vgg_cifar.config import Config
from vgg_cifar.criterion import Criterion
from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.data.loader import Normalise
from vgg_cifar.errors import UserError
from vgg_cifar.model import VGGOptions
from vgg_cifar.teaching import find_teachers
from vgg_cifar.whitening import IMAGES, whiten

# Lightning sets its own loggers to INFO when it is imported: its notes on devices and limits tell a user nothing new.
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


def make_datamodule(config: Config) -> DataModule:
    """The run's images."""
    return DataModule(
        config.data,
        config.seed,
        augment=config.augmentation.build(config.seed, config.data.mean),
        mix=config.augmentation.mixing(config.seed),
        mix_until=config.augmentation.mix_until,
        side=None if config.resizing.name == "none" else config.resizing.side,
        monitor_test=config.monitor_test,
    )


def evaluated_images(config: Config, split: str, count: int, ranks: int) -> int:
    """How many of a split's images a run evaluates, whose limit is in batches of each device, as Lightning reads it.

    Args:
        config: of the run.
        split: "val" or "test".
        count: images of the split.
        ranks: devices of the run.
    """
    limit = config.trainer.limit_val_batches if split == "val" else config.trainer.limit_test_batches
    step = config.data.eval_batch_size * ranks
    batches = math.ceil(count / step)
    return min(count, step * (min(limit, batches) if isinstance(limit, int) else int(limit * batches)))


def make_classifier(config: Config, datamodule: DataModule) -> Classifier:
    """The run's network with freshly drawn weights, the same on every rank, and how it is trained."""
    torch.manual_seed(draws.key(config.seed, "weights"))
    dataset = datamodule.dataset
    network = config.model.build(len(dataset.classes), config.dropout)
    if isinstance(config.model, VGGOptions) and config.model.whiten:
        normalise = Normalise.of(config.data.mean, config.data.std, torch.device("cpu"))
        first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
        whiten(first, normalise(datamodule.train.images[:IMAGES]))
    return Classifier(
        network,
        dataset.superclass_of,
        classes=dataset.classes,
        superclass_names=dataset.superclass_names,
        optimizer=config.optimizer,
        weight_decay=config.weight_decay,
        schedule=config.schedule,
        sharpness=config.sharpness,
        criterion=Criterion(config.label_smoothing, find_teachers(config, dataset)),
        seed=config.seed,
        compile=config.compile,
    )


def make_trainer(
    config: Config, callbacks: list[Callback], loggers: list[Logger], profiler: Profiler | None = None
) -> tuple[Trainer, dict[str, Any]]:
    """The run's Trainer, and what was chosen for this machine, with the reason.

    Raises:
        UserError: if this machine, or the launcher that started this process, cannot do what was asked for.
    """
    kind, precision, reason = arithmetic(config)
    if kind == "cpu":
        hardware.keep_freed_memory()
    try:
        trainer = config.trainer.build(callbacks, loggers, kind, precision, profiler)
    except (MisconfigurationException, ValueError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    return trainer, {
        "accelerator": kind,
        "precision": precision,
        "ranks": trainer.world_size,
        "reason": reason,
    }


def arithmetic(config: Config) -> tuple[str, str, str]:
    """The device's kind, its precision, and why.

    Raises:
        UserError: if this machine cannot do what was asked for.
    """
    kind = hardware.accelerator(config.trainer.accelerator)
    cores = os.cpu_count() or 1  # of the machine: a cluster's task may be bound to fewer, and have the others' beside
    if (processes := unasked_processes(config, kind)) > cores:
        raise UserError(
            f"trainer.devices: torch finds no GPU, and {processes} processes would share the {cores} cores of this "
            "CPU; leave it off, or set trainer.accelerator=cpu if you want that"
        )
    precision, reason = hardware.precision(kind)
    if config.trainer.precision != "auto":
        precision, reason = config.trainer.precision, "as asked"
    if config.compile == "graphs" and (kind != "cuda" or precision == "16-mixed"):
        raise UserError("compile: graphs need an NVIDIA GPU, and with it bf16 or 32 bits; set compile=true or false")
    if kind == "cpu" and precision == "16-mixed":
        raise UserError("trainer.precision: 16-mixed needs a GPU; on a CPU use bf16-mixed or 32-true")
    if precision == "16-mixed" and config.sharpness.name != "none":
        raise UserError(
            "trainer.precision: auto is 16-mixed on this GPU, which scales the gradients that sharpness goes uphill "
            "by; set trainer.precision=32-true or sharpness=none"
        )
    return kind, precision, reason


def unasked_processes(config: Config, kind: str) -> int:
    """How many processes on a CPU `trainer.devices` comes to, where GPUs may have been meant; 0 otherwise.

    Args:
        config: the run's.
        kind: of the device.
    """
    devices = config.trainer.devices
    meant = kind == "cpu" and config.trainer.accelerator == "auto" and devices != "auto"
    return int(devices) if meant and devices != 1 else 0
