"""What a person sees: a line per epoch anywhere, a bar in a terminal."""

import io
import logging
from collections.abc import Callable

import pytest
from rich.console import Console

from vgg_cifar.config import Config
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer
from vgg_cifar.progress import ProgressReport


def show(config: Config, *, terminal: bool) -> str:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=terminal, width=150)
    datamodule = make_datamodule(config)
    trainer, _ = make_trainer(config, [ProgressReport(console)], [])
    trainer.fit(make_classifier(config, datamodule), datamodule)
    return drawn.getvalue()


def test_every_epoch_is_summed_up_in_a_line(configure: Callable[..., Config], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        drawn = show(configure(), terminal=False)
    assert drawn == ""
    lines = [record.getMessage() for record in caplog.records if record.name == "vgg_cifar.progress"]
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    for words in ("train loss", "top1", "val top1", "left"):
        assert words in lines[0]


def test_a_terminal_gets_a_bar_with_rate_and_time_left(configure: Callable[..., Config]) -> None:
    drawn = show(configure(), terminal=True)
    for words in ("epoch 1/2", "loss", "images/s", "%"):
        assert words in drawn
