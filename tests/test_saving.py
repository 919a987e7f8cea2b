"""A run that is killed, stopped or damaged goes on to exactly what it would have been."""

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from undisturbed import Zygote, account

from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.saving import Saving
from vgg_cifar.trained import restore

RUNS = {
    "average, adamw, early stopping": (
        "optimizer=adamw", "weight_decay=none", "dropout=all", "averaging=ema", "averaging.every=2",
        "checkpoint.every_steps=3", "early_stopping.patience=2",
    ),
    "muon, swa, parts of steps, mixtures, growing images": (
        "optimizer=muon", "averaging=swa", "averaging.start=0.3", "trainer.accumulate_grad_batches=3",
        "augmentation=mix", "augmentation.mix_until=0.5", "resizing=progressive", "checkpoint.every_steps=2",
        "checkpoint.every_epochs=2",
    ),
    "limited steps, nothing held out, the test set monitored": (
        "trainer.max_steps=12", "data.val_fraction=0", "monitor_test=true", "schedule=onecycle",
        "checkpoint.every_steps=4", "augmentation=trivial",
    ),
}  # fmt: skip
"""Between them: every kind of state that a run has."""


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """See `undisturbed.py`."""
    process = Zygote()
    yield process
    process.close()


@pytest.fixture
def typed(tiny: list[str]) -> list[str]:
    """Three epochs of five steps, with all that is logged."""
    tiny.remove("logger=csv")
    return [*tiny, "trainer.max_epochs=3", "trainer.log_every_n_steps=2"]


class Disturbed:
    """Runs of one configuration that are disturbed, beside one that is not."""

    def __init__(self, zygote: Zygote, typed: list[str], where: Path) -> None:
        self.zygote, self.typed, self.where = zygote, typed, where
        code, self.calls = self.start(where / "whole")
        assert code == 0
        self.whole = account(RunFolder(where / "whole"))
        assert len(self.whole) > 300  # weights, moments, averages, counters, metrics, points of curves

    def start(self, folder: Path, at: int | None = None, number: int = signal.SIGKILL) -> tuple[int, int]:
        """Run, or go on where there is something to go on with."""
        begun = (folder / "config.yaml").exists()
        typed = [f"resume={folder}"] if begun else [*self.typed, f"hydra.run.dir={folder}"]
        return self.zygote.train(*typed, log=self.where / "log", at=at, number=number)

    def differences(self, folder: Path) -> list[str]:
        """In what the finished run in a folder differs from the undisturbed one."""
        found = account(RunFolder(folder))
        return sorted(key for key in found.keys() | self.whole.keys() if found.get(key) != self.whole.get(key))


def kill_and_go_on(runs: Disturbed, moments: list[int]) -> None:
    for moment in moments:
        folder = runs.where / str(moment)
        code, _ = runs.start(folder, at=moment)
        assert code == -signal.SIGKILL
        code, _ = runs.start(folder)
        assert code == 0, moment
        assert runs.differences(folder) == [], moment


def test_two_runs_of_different_seeds_are_told_apart(zygote: Zygote, typed: list[str], tmp_path: Path) -> None:
    runs = Disturbed(zygote, typed, tmp_path)
    zygote.train(*typed, "seed=1", f"hydra.run.dir={tmp_path}/other", log=tmp_path / "log")
    different = runs.differences(tmp_path / "other")
    for place in ("last/state_dict/network.features.0.weight", "metrics/14/train/loss", "tensorboard/train/loss"):
        assert place in different


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_a_run_killed_anywhere_goes_on_as_if_it_had_not_been(
    zygote: Zygote, typed: list[str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    runs = Disturbed(zygote, [*typed, *options], tmp_path)
    moments = random.Random(0)
    # The first third of the calls only sets up, and has no checkpoint to go on from.
    kill_and_go_on(runs, [moments.randrange(runs.calls // 3, runs.calls) for _ in range(2)])


@pytest.mark.soak
@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_ten_runs_killed_anywhere_go_on_as_if_they_had_not_been(
    zygote: Zygote, typed: list[str], tmp_path: Path, options: tuple[str, ...], figure: Callable[..., None]
) -> None:
    runs = Disturbed(zygote, [*typed, *options], tmp_path)
    moments = random.Random(1)
    for _ in range(10):
        kill_and_go_on(runs, [moments.randrange(runs.calls)])
        figure("runs killed with SIGKILL at a random moment and resumed: bit-identical", 1)


@pytest.mark.soak
def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(
    zygote: Zygote, typed: list[str], tmp_path: Path, figure: Callable[..., None]
) -> None:
    runs = Disturbed(zygote, [*typed, *next(iter(RUNS.values()))], tmp_path)
    moments, kills, code = random.Random(2), 0, -signal.SIGKILL
    while code != 0 and kills < 6:
        code, _ = runs.start(tmp_path / "run", at=moments.randrange(runs.calls // 3, runs.calls * 2 // 3))
        kills += code == -signal.SIGKILL
    assert kills > 1
    if code != 0:
        code, _ = runs.start(tmp_path / "run")
    assert code == 0
    assert runs.differences(tmp_path / "run") == []
    figure("kills of one and the same run, in the end bit-identical", kills)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_saves_the_step_wherever_it_comes(
    zygote: Zygote, typed: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    options = [*next(iter(RUNS.values())), "checkpoint.every_steps=null", "checkpoint.every_epochs=null"]
    runs = Disturbed(zygote, [*typed, *options], tmp_path)
    moments, steps = random.Random(int(number)), set()
    for _ in range(3):
        moment = moments.randrange(runs.calls // 2, runs.calls * 9 // 10)
        folder = RunFolder(tmp_path / str(moment))
        code, _ = runs.start(folder.path, at=moment, number=number)
        assert code == 75
        assert folder.read_result()["status"] == "interrupted"
        steps.add(checkpoints.read(folder.checkpoint("last"))["global_step"])
        code, _ = runs.start(folder.path)
        assert code == 0
        # With no checkpoint but those, no previous one needs to be the same.
        assert [each for each in runs.differences(folder.path) if not each.startswith("previous/")] == []
    assert len(steps) > 1


def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(
    zygote: Zygote, typed: list[str], tmp_path: Path
) -> None:
    runs = Disturbed(zygote, [*typed, *next(iter(RUNS.values()))], tmp_path)
    folder = RunFolder(tmp_path / "run")
    code, _ = runs.start(folder.path, at=runs.calls * 9 // 10)
    assert code == -signal.SIGKILL
    last = folder.checkpoint("last")
    last.write_bytes(last.read_bytes()[:-1000])
    code, _ = runs.start(folder.path)
    assert code == 0
    assert runs.differences(folder.path) == []
    assert "going on from previous.ckpt, the one before" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (("checkpoint.every_steps=2",), {"previous": 8, "last": 10}),
        (("checkpoint.every_steps=4",), {"previous": 8, "last": 10}),
        (("checkpoint.every_epochs=null",), {"last": 10}),
        (("checkpoint.every_epochs=1",), {"previous": 5, "last": 10}),
        (("checkpoint.every_epochs=null", "checkpoint.every_minutes=1e-9"), {"previous": 9, "last": 10}),
    ],
)
def test_checkpoints_are_written_when_it_was_said(
    train: Callable[..., RunFolder], options: tuple[str, ...], steps: dict[str, int]
) -> None:
    folder = train(*options)
    found = {path.stem: checkpoints.read(path)["global_step"] for path in folder.checkpoints.glob("*.ckpt")}
    assert {name: step for name, step in found.items() if name != "best"} == steps


def test_checkpoints_of_some_epochs_stay_and_can_be_asked_for_by_name(train: Callable[..., RunFolder]) -> None:
    options = ("checkpoint.keep_every_epochs=2", "checkpoint.every_epochs=null")
    folder = train(*options, "trainer.max_epochs=3")
    train(*options, "trainer.max_epochs=5", f"resume={folder.path}")
    kept = {path.stem: checkpoints.read(path)["global_step"] for path in folder.checkpoints.glob("epoch_*")}
    assert kept == {"epoch_2": 10, "epoch_4": 20}
    assert (restore(folder, "epoch_2").epoch, restore(folder, "last").epoch) == (2, 5)


def test_a_run_goes_on_from_a_checkpoint_that_stays(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = ("checkpoint.keep_every_epochs=1", "checkpoint.every_epochs=null", "data.val_fraction=0")
    seen: list[int] = []

    def on_train_epoch_start(_: Any, trainer: Any, *__: Any) -> None:
        seen.append(trainer.current_epoch)
        if len(seen) == 3:
            raise RuntimeError("a power cut")

    monkeypatch.setattr(Saving, "on_train_epoch_start", on_train_epoch_start)
    train(*options, "trainer.max_epochs=4", code=1)
    train(*options, "trainer.max_epochs=4", f"resume={tmp_path}/run")
    assert seen == [0, 1, 2, 2, 3]


def test_metrics_are_written_after_an_epoch_without_a_checkpoint(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = []

    def on_train_epoch_start(*_: Any) -> None:
        known.append([row["epoch"] for row in RunFolder(tmp_path / "run").read_metrics() if "train/loss" in row])

    monkeypatch.setattr(Saving, "on_train_epoch_start", on_train_epoch_start)
    train("trainer.max_epochs=3", "checkpoint.every_epochs=null", "data.val_fraction=0")
    assert known == [[], [0], [0, 1]]


def test_the_best_checkpoint_is_the_one_with_the_highest_validation_accuracy(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=5", "checkpoint.every_epochs=null")
    rows = [row for row in folder.read_metrics() if "val/top1" in row]
    best: dict[str, Any] = max(rows, key=lambda row: row["val/top1"])  # the first of several
    assert checkpoints.read(folder.checkpoint("best"))["epoch"] == best["epoch"]


def test_a_best_checkpoint_of_an_older_version_is_only_replaced_by_a_better_one(
    train: Callable[..., RunFolder],
) -> None:
    folder = train("trainer.max_epochs=1")
    content = checkpoints.read(folder.checkpoint("last"))
    del content["callbacks"]["Saving"]
    content["callbacks"]["ModelCheckpoint{'monitor': 'val/top1'}"] = {"best_model_score": torch.tensor(1.0)}
    checkpoints.write(content, folder.checkpoint("last"))
    before = folder.checkpoint("best").read_bytes()
    train("trainer.max_epochs=3", f"resume={folder.path}")
    assert folder.checkpoint("best").read_bytes() == before


def test_a_run_that_was_stopped_early_goes_on_to_more_epochs_even_if_that_is_killed(
    zygote: Zygote, typed: list[str], tmp_path: Path
) -> None:
    folder, log = RunFolder(tmp_path / "run"), tmp_path / "log"
    # Nothing is learned at this rate: no epoch is better than the first.
    options = ["early_stopping.patience=1", "optimizer.lr=1e-30", "model.init=default", "augmentation=none"]
    zygote.train(*typed, *options, "trainer.max_epochs=9", f"hydra.run.dir={folder.path}", log=log)
    assert folder.read_result()["epochs"] == 2
    further = [f"resume={folder.path}", "trainer.max_epochs=12", "early_stopping.patience=2"]
    code, calls = zygote.train(*further, log=log, at=10**9)
    assert code == 0
    assert folder.read_result()["epochs"] == 2 + 2  # with a patience of its own, which begins anew
    code, _ = zygote.train(f"resume={folder.path}", "trainer.max_epochs=15", log=log, at=calls * 2 // 3)
    assert code == -signal.SIGKILL
    code, _ = zygote.train(f"resume={folder.path}", log=log)
    assert code == 0
    assert folder.read_result()["epochs"] == 4 + 2
