"""The Trainer group: Lightning's names reach Lightning."""

import os
from collections.abc import Callable

import pytest
import torch

from vgg_cifar import hardware
from vgg_cifar.config import Config
from vgg_cifar.ddp import DDP
from vgg_cifar.errors import UserError
from vgg_cifar.parts import arithmetic, make_trainer


def test_options_reach_lightning(configure: Callable[..., Config]) -> None:
    config = configure(
        "trainer.max_epochs=7", "trainer.max_steps=70", "trainer.accumulate_grad_batches=3",
        "trainer.gradient_clip_val=0.5", "trainer.limit_train_batches=5", "trainer.limit_val_batches=0.5",
        "trainer.log_every_n_steps=9", "trainer.precision=bf16-mixed",
    )  # fmt: skip
    trainer, chosen = make_trainer(config, [], [])
    assert (trainer.max_epochs, trainer.max_steps, trainer.accumulate_grad_batches) == (7, 70, 3)
    assert (trainer.gradient_clip_val, trainer.limit_train_batches, trainer.limit_val_batches) == (0.5, 5, 0.5)
    assert trainer.log_every_n_steps == 9  # type: ignore[attr-defined]
    assert trainer.precision == "bf16-mixed"
    assert chosen == {"accelerator": "cpu", "precision": "bf16-mixed", "ranks": 1, "reason": "as asked"}


def test_one_device_needs_no_ddp_and_two_do(configure: Callable[..., Config]) -> None:
    assert not isinstance(make_trainer(configure(), [], [])[0].strategy, DDP)
    trainer, chosen = make_trainer(configure("trainer.devices=2"), [], [])
    assert isinstance(trainer.strategy, DDP)
    assert trainer.strategy.one_machine
    assert chosen["ranks"] == 2


def test_more_devices_than_cores_without_a_gpu_are_refused_unless_the_cpu_was_asked_for(
    configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "accelerator", lambda asked: "cpu")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for typed in (["trainer.devices=4", "trainer.accelerator=auto"], ["trainer.devices=5", "trainer.accelerator=cpu"]):
        assert arithmetic(configure(*typed))[0] == "cpu"
    with pytest.raises(UserError) as caught:
        arithmetic(configure("trainer.devices=5", "trainer.accelerator=auto"))
    assert str(caught.value) == (
        "trainer.devices: torch finds no GPU, and 5 processes would share the 4 cores of this CPU; leave it off, or "
        "set trainer.accelerator=cpu if you want that"
    )


def test_auto_precision_is_mixed_only_where_the_hardware_has_it(
    configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure("trainer.precision=auto")
    for present, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda present=present: present)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        trainer, chosen = make_trainer(config, [], [])
        assert trainer.precision == chosen["precision"] == expected
        assert "bfloat16" in chosen["reason"]


def test_auto_accelerator_is_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert hardware.accelerator("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert hardware.accelerator("auto") == hardware.accelerator("gpu") == "cuda"
