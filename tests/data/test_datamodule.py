"""The DataModule: what is trained on, validated on, tested on, and how often."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from vgg_cifar.config import Config
from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer


def attached(config: Config) -> DataModule:
    datamodule = make_datamodule(config)
    datamodule.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    return datamodule


def test_sizes_and_hold_out_are_those_asked_for(configure: Callable[..., Config]) -> None:
    datamodule = make_datamodule(configure("data.train_size=200", "data.val_fraction=0.25", "data.test_size=100"))
    assert datamodule.val is not None
    assert (len(datamodule.train), len(datamodule.val), len(datamodule.dataset.test)) == (150, 50, 100)


def test_the_hold_out_does_not_depend_on_the_seed_of_the_run(configure: Callable[..., Config]) -> None:
    first, second = make_datamodule(configure("seed=0")), make_datamodule(configure("seed=1"))
    assert torch.equal(first.train.images, second.train.images)
    other = make_datamodule(configure("data.seed=1"))
    assert not torch.equal(first.train.images, other.train.images)


def test_nothing_held_out_means_no_validation(configure: Callable[..., Config]) -> None:
    assert attached(configure("data.val_fraction=0")).val_dataloader() == []


def test_the_test_set_is_validated_on_only_where_that_is_asked_for(configure: Callable[..., Config]) -> None:
    splits = [loader.split for loader in attached(configure()).val_dataloader()]
    watched = [loader.split for loader in attached(configure("monitor_test=true")).val_dataloader()]
    assert (splits, watched) == (["val"], ["val", "test"])


def test_a_reading_of_the_test_set_counts_from_its_first_batch(configure: Callable[..., Config]) -> None:
    datamodule = attached(configure())
    assert datamodule.test_reads == 0
    next(iter(datamodule.test_dataloader()))
    assert datamodule.test_reads == 1


def test_only_training_images_are_augmented(configure: Callable[..., Config]) -> None:
    plain, augmented = attached(configure("augmentation=none")), attached(configure("augmentation=standard"))
    assert torch.equal(next(iter(plain.test_dataloader())).images, next(iter(augmented.test_dataloader())).images)
    before, after = (next(iter(d.train_dataloader())) for d in (plain, augmented))
    assert torch.equal(before.labels, after.labels)
    assert not torch.equal(before.images, after.images)


def test_where_images_lie_is_said_when_it_is_not_the_device(
    configure: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for where in ("device", "auto", "host"):
        attached(configure(f"data.memory={where}")).train_dataloader()
    assert caplog.messages == ["The train images stay in the host's memory; each batch is copied to the device"]


class Mixtures(Callback):
    """Keeps of every training batch whether it is mixed, and its size; saves a checkpoint after some step."""

    def __init__(self, step: int, file: Path) -> None:
        self.step, self.file = step, file
        self.seen: list[tuple[int, bool, int]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        assert (batch.mixed_in is None) == (batch.own_share is None)
        self.seen.append((trainer.current_epoch, batch.mixed_in is not None, len(batch.images) // batch.count))
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.file)


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ("augmentation=cutmix augmentation.mix_until=1", [True] * 4),
        ("augmentation=cutmix augmentation.mix_until=0", [False] * 4),
        ("augmentation=cutmix augmentation.mix_until=0.5", [True, True, False, False]),
        ("augmentation=regmixup augmentation.mix_until=0.51", [True, True, True, False]),
        ("augmentation=regmixup augmentation.mix_until=0.5 trainer.accumulate_grad_batches=2",
         [True, True, False, False]),
        ("augmentation=regmixup augmentation.mix_until=0.5 trainer.max_epochs=100 trainer.max_steps=20",
         [True, True, False, False]),
    ],
)  # fmt: skip
def test_mixing_ends_at_its_fraction_of_the_run_and_between_epochs(
    configure: Callable[..., Config], tmp_path: Path, options: str, epochs: list[bool]
) -> None:
    config = configure("trainer.max_epochs=4", *options.split())
    mixtures, datamodule = Mixtures(-1, tmp_path), make_datamodule(config)
    trainer, _ = make_trainer(config, [mixtures], [])
    trainer.fit(make_classifier(config, datamodule), datamodule)
    assert {(epoch, mixed) for epoch, mixed, _ in mixtures.seen} == set(enumerate(epochs))
    assert all(copies == (2 if mixed and "regmixup" in options else 1) for _, mixed, copies in mixtures.seen)


@pytest.mark.parametrize("step", [7, 10, 12])  # within the second epoch, at the end of mixing, and after it
def test_mixing_ends_at_the_same_epoch_of_a_run_that_is_gone_on_with(
    configure: Callable[..., Config], tmp_path: Path, step: int
) -> None:
    config = configure("logger=csv", "trainer.max_epochs=3", "augmentation=regmixup", "augmentation.mix_until=0.6")
    curves = []
    for checkpoint in (None, tmp_path / "middle.ckpt"):
        mixtures, datamodule = Mixtures(step, tmp_path / "middle.ckpt"), make_datamodule(config)
        trainer, _ = make_trainer(config, [mixtures], [])
        trainer.fit(make_classifier(config, datamodule), datamodule, ckpt_path=checkpoint, weights_only=True)
        curves.append(mixtures.seen)
    whole, rest = curves
    assert whole == [(0, True, 2)] * 5 + [(1, True, 2)] * 5 + [(2, False, 1)] * 5
    assert rest == whole[step:]


def test_a_fit_from_a_checkpoint_within_an_epoch_sees_the_very_next_batch(
    configure: Callable[..., Config], tmp_path: Path
) -> None:
    class Labels(Callback):
        def __init__(self) -> None:
            self.seen: list[tuple[int, list[int]]] = []

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.seen.append((batch_idx, batch.labels.tolist()))
            if trainer.global_step == 7:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    config = configure("logger=csv", "trainer.max_epochs=3")
    curves = []
    for checkpoint in (None, tmp_path / "middle.ckpt"):
        labels, datamodule = Labels(), make_datamodule(config)
        trainer, _ = make_trainer(config, [labels], [])
        trainer.fit(make_classifier(config, datamodule), datamodule, ckpt_path=checkpoint, weights_only=True)
        curves.append(labels.seen)
    whole, rest = curves
    assert len(whole) == 3 * 5
    assert rest == whole[7:]
