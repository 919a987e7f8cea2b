"""The record: what `result.json` says while a run goes on, and over resumes."""

from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Callback

from vgg_cifar import training
from vgg_cifar.runs.folder import RunFolder


def test_seconds_are_summed_over_resumes(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    first = folder.read_result()
    train("trainer.max_epochs=2", f"resume={folder.path}")
    second = folder.read_result()
    for name in ("train_seconds", "setup_seconds", "validation_seconds", "total_seconds"):
        assert second[name] > first[name], name


def test_the_result_is_written_while_the_run_goes_on(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    class Reader(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            folders = [callback.folder for callback in trainer.callbacks if hasattr(callback, "folder")]
            seen.append(folders[0].read_result())

    original = training._Run._callbacks
    monkeypatch.setattr(training._Run, "_callbacks", lambda *args: [Reader(), *original(*args)])
    train()
    assert [result["status"] for result in seen] == ["running", "running"]
    assert [result.get("epochs", 0) for result in seen] == [0, 1]
