"""A run ends with a look at what its network knows; whatever comes of that, it is finished."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asked import asked

from vgg_cifar.errors import Interrupted
from vgg_cifar.evaluation import evaluating
from vgg_cifar.runs.folder import RunFolder, json_text

FILES = {"metrics.json", "per_class.csv", "confusion.csv", "predictions.csv", "figures", "tensorboard", "report.html"}


def test_it_finds_what_the_command_finds_and_reads_the_test_set_no_second_time(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[str] = []
    original = evaluating.Asking.each

    def each(self: Any, images: Any, name: str, alter: Any = None) -> Any:
        passes.append(name)
        return original(self, images, name, alter)

    monkeypatch.setattr(evaluating.Asking, "each", each)
    folder = train("evaluate=true")
    assert {path.name for path in folder.evaluation.iterdir()} == FILES
    assert passes == ["val"]
    assert folder.read_result()["test_reads"] == 1
    found = json.loads((folder.evaluation / "metrics.json").read_text())
    assert found == json.loads(json_text(asked(folder).metrics))


def test_two_ranks_leave_one_evaluation(
    command: Callable[..., subprocess.CompletedProcess[str]], tiny: list[str], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    typed = [*tiny, "evaluate=true", "trainer.devices=2", "trainer.max_epochs=1", "data.test_size=147"]
    done = command("train.py", *typed, f"hydra.run.dir={folder.path}")
    assert done.returncode == 0, done.stderr
    assert f"What it knows: {folder.evaluation / 'report.html'}" in done.stdout + done.stderr
    found, stored = json.loads((folder.evaluation / "metrics.json").read_text()), folder.read_result()
    assert found["images"] == 147
    assert {name: found[name] for name in found if name in stored} == {n: stored[n] for n in stored if n in found}
    assert found["test/top1"] == stored["test/top1"]


@pytest.mark.parametrize("error", [RuntimeError("no room"), KeyboardInterrupt(), Interrupted("SIGTERM")], ids=repr)
def test_a_run_is_finished_though_its_evaluation_is_not(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:  # fmt: skip
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(evaluating, "evaluate", fail)
    with caplog.at_level("WARNING"):
        folder = train("evaluate=true", code=0)
    assert folder.read_result()["status"] == "finished"
    assert folder.read_manifest()["exit_status"] == 0
    assert f"it is made by .venv/bin/python src/evaluate.py run={folder.path}" in caplog.text


def test_a_signal_ends_it_at_once(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = evaluating.Asking.each

    def each(*arguments: Any, **more: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return before(*arguments, **more)

    monkeypatch.setattr(evaluating.Asking, "each", each)
    with caplog.at_level("WARNING"):
        folder = train("evaluate=true", code=0)
    assert "its evaluation was interrupted" in caplog.text
    assert not (folder.evaluation / "report.html").exists()


def test_it_can_be_left_out(train: Callable[..., RunFolder]) -> None:
    assert not train("evaluate=false").evaluation.exists()
