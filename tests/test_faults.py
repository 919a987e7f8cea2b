"""What ends a run though nobody made a mistake: a line that says what, the last good state, and no half-made files."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from vgg_cifar import failure, training
from vgg_cifar.classifier import Classifier
from vgg_cifar.config import Config
from vgg_cifar.data.loader import Batch
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.vgg import VGG

Train = Callable[..., RunFolder]


def with_callback(monkeypatch: pytest.MonkeyPatch, callback: Callback) -> None:
    original = training._Run._callbacks
    monkeypatch.setattr(training._Run, "_callbacks", lambda *args: [callback, *original(*args)])


def losses_of(monkeypatch: pytest.MonkeyPatch, bad: Callable[[Classifier], bool]) -> None:
    """Let the loss be no number while something is so."""
    original = Classifier._learn

    def learn(self: Classifier, batch: Batch) -> torch.Tensor:
        return original(self, batch) * (float("nan") if bad(self) else 1.0)

    monkeypatch.setattr(Classifier, "_learn", learn)


def error_of(folder: RunFolder, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> str:
    """The reason of a failed run, which was also said in a line, without a traceback."""
    result = folder.read_result()
    assert result["status"] == "failed"
    assert folder.read_manifest()["exit_status"] == 1
    printed = capsys.readouterr()
    assert f"The run failed: {result['error']}" in caplog.text
    assert "Traceback" not in caplog.text + printed.out + printed.err
    return str(result["error"])


def test_a_rate_far_too_high_is_named_with_the_step(
    train: Train, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = train("optimizer.lr=1e30", "schedule=constant", "schedule.warmup=0", code=1)
    error = error_of(folder, capsys, caplog)
    assert error.startswith("the loss (nan) is not finite at step 1, learning rate 1e+30; there is no checkpoint yet")


def test_the_last_good_checkpoint_is_named_and_kept(
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    losses_of(monkeypatch, lambda classifier: classifier.trainer.global_step >= 7)
    folder = train("checkpoint.every_steps=3", code=1)
    error = error_of(folder, capsys, caplog)
    assert error.startswith("the loss (nan) is not finite at step 7, learning rate 0.0")
    assert f"the last good checkpoint is {folder.checkpoint('last')}" in error
    assert checkpoints.read(folder.checkpoint("last"))["global_step"] == 6


def test_weights_that_are_no_numbers_are_not_saved(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Spoiler(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == 10:
                next(pl_module.parameters()).data[0] = float("inf")

    with_callback(monkeypatch, Spoiler())
    folder = train(code=1)
    assert error_of(folder, capsys, caplog).startswith("a weight is not finite at step 9, ")
    assert checkpoints.read(folder.checkpoint("last"))["global_step"] == 5


def test_a_run_that_may_try_again_goes_back_and_on_with_a_lower_rate(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses_of(monkeypatch, lambda self: self.trainer.global_step >= 7 and self._rate > 0.03)
    options = ("schedule=constant", "schedule.warmup=0", "trainer.log_every_n_steps=1")
    folder = train(*options, "divergence.retries=3", "divergence.lr_factor=0.5", "trainer.max_epochs=3")
    assert folder.read_result()["status"] == "finished"
    rates = [row["lr"] for row in folder.read_metrics() if "lr" in row]
    assert rates == pytest.approx([0.05] * 5 + [0.025] * 10)
    manifest = folder.read_manifest()
    # To the last checkpoint, to the one before when that did not help, and to the new last one.
    assert [each["back_to_step"] for each in manifest["setbacks"]] == [5, 0, 5]
    assert all(each["step"] == 7 and each["lr_factor"] == 0.5 for each in manifest["setbacks"])
    assert "resumed" not in manifest  # it is one process still
    assert folder.read_result()["test_reads"] == 1


def test_after_the_last_try_the_run_fails(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    losses_of(monkeypatch, lambda classifier: classifier.trainer.global_step >= 7)
    folder = train("divergence.retries=2", code=1)
    assert "is not finite at step 7" in error_of(folder, capsys, caplog)
    assert len(folder.read_manifest()["setbacks"]) == 2


def test_out_of_memory_is_answered_with_what_fits(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    original = VGG.forward

    def forward(self: VGG, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return original(self, images)

    monkeypatch.setattr(VGG, "forward", forward)
    error = error_of(train(code=1), capsys, caplog)
    assert error == (
        "out of memory with data.batch_size=64; "
        "trainer.accumulate_grad_batches=4 fits, and takes the same steps in smaller parts"
    )
    assert train("trainer.accumulate_grad_batches=4", to="smaller").read_result()["status"] == "finished"


@pytest.mark.parametrize("option", ["sharpness=sam", "compile=graphs"])
def test_out_of_memory_is_not_answered_with_what_would_be_refused(
    configure: Callable[..., Config], option: str
) -> None:
    config = configure()
    group, _, choice = option.partition("=")
    chosen = configure(option).sharpness if group == "sharpness" else choice
    error = failure.explained(
        torch.OutOfMemoryError(), config.model_copy(update={group: chosen}), RunFolder("nowhere"), lambda _: None
    )
    assert error == "out of memory with data.batch_size=64; lower data.batch_size, or choose a smaller model"


def test_a_disk_that_is_full_leaves_the_last_good_state(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Filler(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                monkeypatch.setattr(os, "fsync", full)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with_callback(monkeypatch, Filler())
    folder = train(code=1)
    assert "no space is left" in caplog.text
    assert "Traceback" not in caplog.text + capsys.readouterr().err
    assert checkpoints.read(folder.checkpoint("last"))["global_step"] == 5
    assert [path.name for path in folder.path.rglob("*") if path.name.startswith(".result")] == []
    monkeypatch.undo()
    train(f"resume={folder.path}")
    assert folder.read_result()["test/loss"] == train(to="whole").read_result()["test/loss"]


def test_a_run_whose_folder_is_deleted_says_so(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Deleter(Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 7:
                shutil.rmtree(next(each.folder for each in trainer.callbacks if hasattr(each, "folder")).path)

    with_callback(monkeypatch, Deleter())
    threads: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", threads.append)  # what would print a traceback of theirs
    folder = train("logger=tensorboard", "trainer.log_every_n_steps=1", code=1)
    assert "its folder is gone" in caplog.text
    assert "Traceback" not in caplog.text + capsys.readouterr().err
    assert threads == []
    assert not folder.path.exists()


def test_the_clock_may_jump(train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import time

    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: 1e9 - 1e5 * next(jumps))
    result = train("checkpoint.every_minutes=5").read_result()
    assert result["status"] == "finished"
    assert 0 < result["train_seconds"] <= result["total_seconds"]


def test_a_run_of_an_older_version_can_go_back_too(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    constant = ("schedule=constant", "schedule.warmup=0")
    folder = train(*constant, "trainer.max_epochs=1")
    content = checkpoints.read(folder.checkpoint("last"))
    del content["callbacks"]["Saving"], content["epoch_so_far"]
    checkpoints.write(content, folder.checkpoint("last"))
    losses_of(monkeypatch, lambda self: self.trainer.global_step >= 7 and self._rate > 0.05)
    train(*constant, "trainer.max_epochs=2", "divergence.retries=2", f"resume={folder.path}")
    assert folder.read_result()["status"] == "finished"
    assert len(folder.read_manifest()["setbacks"]) == 1


def test_from_a_last_checkpoint_that_is_lost_already_the_one_before_is_taken(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[int] = []
    original = Classifier.on_train_start

    def on_train_start(self: Classifier) -> None:
        began.append(self.trainer.global_step)
        original(self)

    monkeypatch.setattr(Classifier, "on_train_start", on_train_start)
    losses_of(monkeypatch, lambda self: self.trainer.global_step >= 4 and (self._rate > 0.06 or began[-1] == 4))
    options = ("schedule=constant", "schedule.warmup=0", "checkpoint.every_steps=2", "divergence.retries=2")
    assert train(*options).read_result()["status"] == "finished"
    assert began == [0, 4, 2]


def test_before_there_is_any_checkpoint_it_goes_back_to_the_first_step(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses_of(monkeypatch, lambda self: self._rate > 0.06)
    folder = train("schedule=constant", "schedule.warmup=0", "divergence.retries=1")
    assert folder.read_result()["status"] == "finished"
    assert [each["back_to_step"] for each in folder.read_manifest()["setbacks"]] == [0]


def test_a_best_checkpoint_that_is_damaged_is_named_with_a_way_out(
    train: Train, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = train("trainer.max_epochs=1")
    content = checkpoints.read(folder.checkpoint("last"))
    content["callbacks"]["Saving"]["best"] = 1.0
    checkpoints.write(content, folder.checkpoint("last"))
    folder.checkpoint("best").write_bytes(b"nothing")
    train("trainer.max_epochs=2", f"resume={folder.path}", code=1)
    assert error_of(folder, capsys, caplog).endswith(f"remove it, and resume={folder.path} tests the last one")
    folder.checkpoint("best").unlink()
    train("trainer.max_epochs=2", f"resume={folder.path}")
    assert folder.read_result()["tested_checkpoint"] == "last"


def test_a_connection_to_another_rank_that_ends_is_one_line_without_advice_on_torch(
    configure: Callable[..., Any], tmp_path: Path
) -> None:
    said = (
        "[/build/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [10.0.0.2]:2215: Connection reset by peer."
    )
    error = RuntimeError(f"{said} This is typically caused by a remote worker hanging.")
    line = failure.explained(error, configure(), RunFolder(tmp_path), None)
    assert line == "a connection to another rank failed: Read error [10.0.0.2]:2215: Connection reset by peer."
