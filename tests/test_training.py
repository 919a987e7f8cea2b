"""A whole run in this process: what it leaves, how it goes on, how it ends badly."""

import csv
import gc
import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Callback

from vgg_cifar import hardware, parts, training
from vgg_cifar.command_line import prepare
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import Config
from vgg_cifar.errors import Interrupted, UserError
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs import folder as runs_folder
from vgg_cifar.runs.folder import RunFolder


def test_a_finished_run_leaves_what_the_contract_promises(train: Callable[..., RunFolder]) -> None:
    folder = train("logger=tensorboard", "tags=[first]")
    result = folder.read_result()
    assert result["status"] == "finished"
    assert (result["epochs"], result["steps"]) == (2, 2 * 5)  # 270 images in batches of 64
    assert result["tested_checkpoint"] == "best"
    assert result["test_reads"] == 1
    for name in ("train/loss", "val/loss", "val/top5", "test/loss", "test/top5", "test/superclass_top1"):
        assert result[name] >= 0
    for name in ("train/top1", "val/top1", "test/top1"):
        assert 0 <= result[name] <= 1
    for name in ("setup_seconds", "train_seconds", "validation_seconds", "total_seconds", "images_per_second"):
        assert result[name] > 0
    parts = result["setup_seconds"] + result["train_seconds"] + result["validation_seconds"]
    assert parts <= result["total_seconds"]
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["best.ckpt", "last.ckpt", "previous.ckpt"]
    assert list(folder.tensorboard.glob("events.out.tfevents.*"))
    assert folder.read_config()["tags"] == ["first"]
    manifest = folder.read_manifest()
    assert manifest["command"][:2] == ["python", "src/train.py"]
    assert manifest["exit_status"] == 0
    assert manifest["start"] <= manifest["end"]
    assert manifest["packages"]["torch"] == torch.__version__.split("+")[0]
    assert manifest["seed"] == 0


def test_metrics_csv_has_a_row_per_epoch_with_the_documented_names(train: Callable[..., RunFolder]) -> None:
    folder = train()
    with folder.metrics.open() as file:
        rows = list(csv.DictReader(file))
    names = {"step", "epoch", "train/loss", "train/top1", "val/loss", "val/top1", "val/top5", "lr", "images_per_second"}
    assert names < set(rows[0])
    assert [row["epoch"] for row in rows if row["val/top1"]] == ["0", "1"]
    assert float(rows[-1]["test/top1"]) == pytest.approx(folder.read_result()["test/top1"])


def test_without_held_out_images_the_last_checkpoint_is_tested(train: Callable[..., RunFolder]) -> None:
    folder = train("data.val_fraction=0")
    result = folder.read_result()
    assert result["tested_checkpoint"] == "last"
    assert not [name for name in result if name.startswith("val/")]
    assert not folder.checkpoint("best").exists()
    assert "val/" not in folder.metrics.read_text()


def test_monitoring_the_test_set_is_counted_and_changes_nothing_else(train: Callable[..., RunFolder]) -> None:
    plain = train(to="plain").read_result()
    watched = train("monitor_test=true", to="watched").read_result()
    assert (plain["test_reads"], watched["test_reads"]) == (1, 3)
    for name in ("train/loss", "val/loss", "test/loss", "test/top1", "tested_epoch"):
        assert watched[name] == plain[name]


def test_the_best_checkpoint_is_the_one_with_the_highest_validation_accuracy(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=4")
    accuracies = [row["val/top1"] for row in folder.read_metrics() if "val/top1" in row]
    assert folder.read_result()["tested_epoch"] == accuracies.index(max(accuracies)) + 1


def test_the_same_seed_gives_the_same_run_and_another_seed_another(train: Callable[..., RunFolder]) -> None:
    first, again, other = train(to="a"), train(to="b"), train("seed=1", to="c")
    weights = [checkpoints.read(folder.checkpoint("last"))["state_dict"] for folder in (first, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["network.features.0.weight"], weights[2]["network.features.0.weight"])


@pytest.mark.parametrize("averaging", ["none", "ema", "swa"])
def test_a_resumed_run_equals_one_that_was_never_interrupted(train: Callable[..., RunFolder], averaging: str) -> None:
    options = (f"averaging={averaging}", "dropout=all", "schedule=constant", "augmentation=rotate")
    swa = ("averaging.start=0.0",) if averaging == "swa" else ()
    whole = train(*options, *swa, "trainer.max_epochs=3", to="whole")
    parts = train(*options, *swa, "trainer.max_epochs=1", to="parts")
    train(*options, *swa, "trainer.max_epochs=3", f"resume={parts.path}", to="parts")
    expected, found = whole.read_result(), parts.read_result()
    for name in ("epochs", "steps", "train/loss", "val/loss", "val/top1", "test/loss", "test/top1", "tested_epoch"):
        assert found[name] == expected[name], name
    assert found["test_reads"] == 2  # once at the end of each part
    for key in ("state_dict", "trained_state_dict"):
        before, after = (checkpoints.read(folder.checkpoint("last")).get(key, {}) for folder in (whole, parts))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    rows = [row["step"] for row in parts.read_metrics()]
    assert rows == sorted(set(rows))


def test_a_run_is_not_told_to_end_before_where_it_stands(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=3")
    folder.write_result(folder.read_result() | {"status": "interrupted"})
    files = (folder.config, folder.manifest, folder.result)
    before = [file.read_bytes() for file in files]
    with pytest.raises(UserError, match=rf"trainer\.max_epochs: {folder.path} has come to epoch 3 already; give 3 or"):
        train("trainer.max_epochs=2", f"resume={folder.path}")
    assert [file.read_bytes() for file in files] == before
    train("trainer.max_epochs=3", f"resume={folder.path}")
    assert folder.read_result()["status"] == "finished"


def test_a_run_that_was_killed_before_it_saved_begins_anew_and_has_read_what_it_read(
    train: Callable[..., RunFolder],
) -> None:
    folder = train("monitor_test=true", "checkpoint.every_epochs=null")
    read = folder.read_result()["test_reads"]
    assert read > 1
    folder.write_result(folder.read_result() | {"status": "running"})
    for file in folder.checkpoints.iterdir():
        file.unlink()
    train("monitor_test=true", "checkpoint.every_epochs=null", f"resume={folder.path}")
    assert folder.read_result()["test_reads"] == 2 * read
    assert folder.read_result()["test/loss"] == train(to="whole").read_result()["test/loss"]


def test_a_finished_run_is_not_trained_or_tested_again(train: Callable[..., RunFolder]) -> None:
    folder = train()
    before = folder.read_result()
    train(f"resume={folder.path}")
    assert folder.read_result() == before


def test_gradient_accumulation_takes_the_same_steps(train: Callable[..., RunFolder]) -> None:
    # Batch norm sees other batches, so only the count of steps and images can be the same.
    plain = train(to="plain").read_result()
    accumulated = train("trainer.accumulate_grad_batches=3", to="accumulated").read_result()
    assert accumulated["steps"] == plain["steps"]


def test_a_failure_is_recorded_with_its_reason(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("the second epoch is cursed")

    monkeypatch.setattr(training.Classifier, "on_train_epoch_end", fail)
    folder = train(code=1)
    result = folder.read_result()
    assert result["status"] == "failed"
    assert result["error"] == "ValueError: the second epoch is cursed"
    assert folder.read_manifest()["exit_status"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_an_interrupted_run_that_goes_on(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    class Killer(Callback):
        def on_train_batch_start(self, trainer: object, pl_module: object, batch: object, batch_idx: int) -> None:
            if trainer.current_epoch == 1 and batch_idx == 2:  # type: ignore[attr-defined]
                os.kill(os.getpid(), number)

    if number is signal.SIGHUP:
        signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    original = training._Run._callbacks
    monkeypatch.setattr(training._Run, "_callbacks", lambda *args: [Killer(), *original(*args)])
    folder = train(code=75)
    assert folder.read_result()["status"] == "interrupted"
    assert folder.read_result()["epochs"] == 1
    monkeypatch.undo()
    train(f"resume={folder.path}")
    manifest = folder.read_manifest()
    (resumed,) = manifest["resumed"]
    assert (manifest["first"]["exit_status"], resumed["exit_status"], manifest["exit_status"]) == (75, 0, 0)
    assert manifest["first"]["end"] <= resumed["start"] <= resumed["end"] == manifest["end"]
    whole = train(to="whole").read_result()
    assert folder.read_result()["status"] == "finished"
    assert folder.read_result()["test/loss"] == whole["test/loss"]


def test_what_an_interrupted_run_says_goes_on_with_it(
    train: Callable[..., RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Killer(Callback):
        def on_train_epoch_end(self, trainer: object, pl_module: object) -> None:
            raise Interrupted("SIGTERM")

    (tmp_path / "my conf").mkdir()
    typed = f"hydra.searchpath=['file://{tmp_path}/my conf']"
    said = SimpleNamespace(overrides=SimpleNamespace(hydra=[typed, "hydra.run.dir=elsewhere"]))
    original = training._Run._callbacks
    monkeypatch.setattr(training._Run, "_callbacks", lambda *args: [Killer(), *original(*args)])
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: said)
    caplog.set_level("INFO")
    folder = train("allow=[mine]", "seed=3", to="an ü", code=75)
    words = shlex.split(caplog.messages[-1].partition("go on with: ")[2])
    own = ["allow=[mine]", "--config-dir", f"{tmp_path}/my conf"]
    assert words == [".venv/bin/python", "src/train.py", f"resume='{folder.path}'", *own]
    assert prepare(words[2:]) is not None


def test_a_run_interrupted_while_it_is_tested_is_tested_when_it_goes_on(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killer(Callback):
        def on_test_start(self, trainer: object, pl_module: object) -> None:
            raise Interrupted("SIGTERM")

    original = training._Run._callbacks
    monkeypatch.setattr(training._Run, "_callbacks", lambda *args: [Killer(), *original(*args)])
    folder = train(code=75)
    assert folder.read_result()["status"] == "interrupted"
    monkeypatch.undo()
    train(f"resume={folder.path}")
    result, whole = folder.read_result(), train(to="whole").read_result()
    assert result["status"] == "finished"
    for name in ("epochs", "steps", "train/loss", "val/top1", "test/loss", "test/top1"):
        assert result[name] == whole[name], name


def test_a_run_interrupted_in_its_first_epoch_starts_again_in_place(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killer(Callback):
        def on_train_batch_start(self, *_: object) -> None:
            raise Interrupted("SIGTERM")

    original = training._Run._callbacks
    monkeypatch.setattr(training._Run, "_callbacks", lambda *args: [Killer(), *original(*args)])
    folder = train(code=75)
    monkeypatch.undo()
    assert compose_and_check(prepare([f"resume={folder.path}"]))[2] == folder.path
    train(f"resume={folder.path}")
    assert folder.read_result()["test/loss"] == train(to="whole").read_result()["test/loss"]


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_a_run_killed_while_it_writes_down_what_begins_can_be_begun_or_gone_on_with(
    train: Callable[..., RunFolder], tiny: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: int
) -> None:
    class Killed(BaseException):
        pass

    def write(path: Path, text: str) -> None:
        if len(files) == written:
            raise Killed
        original(path, text)
        files.append(path.name)

    files: list[str] = []
    original = runs_folder.write
    monkeypatch.setattr(runs_folder, "write", write)
    with pytest.raises(Killed):
        train()
    monkeypatch.undo()
    folder = RunFolder(tmp_path / "run")
    begun = [f"resume={folder.path}"] if folder.config.exists() else [*tiny, f"hydra.run.dir={folder.path}"]
    overrides = prepare(begun)
    assert overrides is not None
    assert training.run(compose_and_check(overrides).config, folder, overrides) == 0
    assert folder.read_result()["test/loss"] == train(to="whole").read_result()["test/loss"]


def test_a_run_that_goes_on_to_more_epochs_follows_the_longer_schedule_at_once(
    train: Callable[..., RunFolder],
) -> None:
    options = ("schedule=onecycle", "trainer.log_every_n_steps=1")
    folder = train(*options, "trainer.max_epochs=1")
    train(*options, "trainer.max_epochs=4", f"resume={folder.path}")
    schedule = compose_and_check(list(options))[1].schedule
    rates = {int(row["step"]): row["lr"] for row in folder.read_metrics() if "lr" in row}
    expected = {step: 0.1 * schedule.factor(step, 4 * 5) for step in range(5, 20)}
    assert {step: rates[step] for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("trainer.accelerator=cuda", "trainer.accelerator: torch finds no cuda on this machine; use auto or cpu"),
        ("trainer.accelerator=gpu", "trainer.accelerator: torch finds no gpu on this machine; use auto or cpu"),
        (
            "compile=graphs",
            "compile: graphs need an NVIDIA GPU, and with it bf16 or 32 bits; set compile=true or false",
        ),
    ],
)
def test_hardware_that_is_not_there_is_a_mistake_of_one_line(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, override: str, line: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError) as caught:
        train(override, "data=cifar100", f"data.root={tmp_path}")  # where there are no images, either
    assert str(caught.value) == line


def test_early_stopping_stops(train: Callable[..., RunFolder]) -> None:
    # With a rate of nearly nothing the accuracy does not get better for long.
    folder = train("early_stopping.patience=1", "trainer.max_epochs=30", "optimizer.lr=1e-12")
    before = folder.read_result()
    assert before["epochs"] < 30
    train("early_stopping.patience=1", "trainer.max_epochs=30", "optimizer.lr=1e-12", f"resume={folder.path}")
    assert folder.read_result() == before


def test_checkpoints_hold_plain_data_and_the_same_keys_compiled_or_not(
    configure: Callable[..., Config], train: Callable[..., RunFolder]
) -> None:
    folder = train("trainer.max_epochs=1", "averaging=ema")
    for which in ("best", "last"):
        content = torch.load(folder.checkpoint(which), weights_only=True)
        assert content["state_dict"]
    config = configure("compile=true")
    classifier = parts.make_classifier(config, parts.make_datamodule(config))
    assert classifier.state_dict().keys() == content["state_dict"].keys()


def test_a_run_starts_from_given_weights(train: Callable[..., RunFolder]) -> None:
    first = train(to="first")
    second = train(f"model.weights={first.checkpoint('last')}", "optimizer.lr=1e-12", to="second")
    before, after = (checkpoints.read(folder.checkpoint("last"))["state_dict"] for folder in (first, second))
    name = "network.features.0.weight"
    torch.testing.assert_close(before[name], after[name])


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=adam", "schedule=onecycle", "weight_decay=none", "dropout=none", "augmentation=none"),
        ("optimizer=adamw", "schedule=multistep", "weight_decay=everywhere", "dropout=all", "augmentation=rotate"),
        ("optimizer=rmsprop", "schedule=constant", "trainer.gradient_clip_val=1.0", "label_smoothing=0.1"),
        ("model.pool=average", "model.hidden=[]", "model.init=default", "trainer.precision=bf16-mixed"),
        ("trainer.max_steps=3", "trainer.deterministic=true"),
        ("trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.limit_test_batches=2"),
    ],
)
def test_combinations_of_choices_train(train: Callable[..., RunFolder], overrides: tuple[str, ...]) -> None:
    result = train("trainer.max_epochs=1", *overrides).read_result()
    assert result["status"] == "finished"
    assert result["train/loss"] > 0


def test_real_images_train_above_chance(real_data: Path, tiny: list[str], tmp_path: Path) -> None:
    typed = [word for word in tiny if not word.startswith("data")]
    typed += ["data=cifar100", f"data.root={real_data}", "data.train_size=2000", "data.test_size=500"]
    typed += ["optimizer=adam", "dropout=none", "trainer.max_epochs=4", "model.width=0.25", "data.val_fraction=0"]
    folder = RunFolder(tmp_path / "run")
    assert training.run(compose_and_check(typed)[1], folder, typed) == 0
    assert folder.read_result()["test/top5"] > 2 * 5 / 100


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what Linux's /proc shows")
@pytest.mark.soak
def test_five_hundred_epochs_hold_no_more_than_a_hundred(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, figure: Callable[..., None]
) -> None:
    seen: dict[int, dict[str, int]] = {}

    class Look(Callback):
        def on_train_epoch_end(self, trainer: object, pl_module: object) -> None:
            gc.collect()
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            seen[trainer.current_epoch + 1] = {  # type: ignore[attr-defined]
                "kilobytes": int(status["VmRSS"].split()[0]),
                "threads": int(status["Threads"]),
                "handles": len(list(Path("/proc/self/fd").iterdir())),
            }

    original = training._Run._callbacks
    monkeypatch.setattr(training._Run, "_callbacks", lambda *args: [Look(), *original(*args)])
    options = ("data.train_size=200", "trainer.max_epochs=500", "averaging=ema", "checkpoint.every_steps=2")
    assert train(*options, "logger=tensorboard").read_result()["epochs"] == 500
    early, late = seen[100], seen[500]
    assert late["threads"] == early["threads"]
    assert late["handles"] == early["handles"]
    growth = late["kilobytes"] - early["kilobytes"]
    assert growth < 0.02 * early["kilobytes"]
    figure("epochs in one process, without a thread or an open file more", 500)
    figure("kilobytes of memory more after 500 epochs than after 100", growth, max)


@pytest.mark.parametrize(("accelerator", "devices", "told"), [("auto", 2, True), ("cpu", 2, False), ("auto", 1, False)])
def test_devices_that_are_processes_on_a_cpu_are_told_unless_it_was_asked_for(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    accelerator: str, devices: int, told: bool,
) -> None:  # fmt: skip
    def stop(config: object) -> None:
        raise UserError("enough")

    monkeypatch.setattr(hardware, "accelerator", lambda asked: "cpu")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(training, "make_datamodule", stop)
    with pytest.raises(UserError, match="enough"):
        train(f"trainer.accelerator={accelerator}", f"trainer.devices={devices}")
    assert any("torch finds no GPU: trainer.devices=2 are" in each for each in caplog.messages) == told


@pytest.mark.parametrize(("batch_size", "told"), [(301, True), (300, False)])
def test_a_batch_of_more_than_all_images_is_told(
    train: Callable[..., RunFolder], caplog: pytest.LogCaptureFixture, batch_size: int, told: bool
) -> None:
    train(f"data.batch_size={batch_size}", "data.val_fraction=0", "trainer.max_epochs=1")
    said = f"data.batch_size={batch_size} is more than there are training images: an epoch is one step"
    assert (said in caplog.messages) == told
