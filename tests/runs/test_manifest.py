"""The manifest: what a run was made of."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from vgg_cifar.runs import manifest


def test_it_says_what_was_typed_on_what_with_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    said = manifest.manifest(["optimizer=adam"], 3, {"file": "hash"}, {"precision": "32-true"})
    assert said["command"] == ["python", "src/train.py", "optimizer=adam"]
    assert (said["seed"], said["data"]) == (3, {"file": "hash"})
    assert said["packages"]["torch"] in torch.__version__
    assert said["hardware"]["precision"] == "32-true"
    assert said["hardware"]["threads"] == 7
    assert said["end"] is None


def test_the_commit_is_that_of_the_project_not_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Path(__file__).resolve().parents[2]
    expected = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=False)
    if expected.returncode:
        pytest.skip("the project is not a git checkout here")
    monkeypatch.chdir(tmp_path)
    assert manifest.git_state()["commit"] == expected.stdout.strip()


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert manifest.git_state() == {"commit": None, "dirty": None}


def test_every_process_of_a_run_has_its_own_end() -> None:
    def process(word: str) -> dict[str, Any]:
        return manifest.manifest([word], 0, {}, {})

    run = manifest.ended(process("first"), 75)
    run = manifest.gone_on_with(run, process("killed"))
    assert (run["end"], run["exit_status"]) == (None, None)
    run = manifest.ended(manifest.gone_on_with(run, process("last")), 0)
    processes = [run["first"], *run["resumed"]]
    assert [each["exit_status"] for each in processes] == [75, None, 0]
    assert [each["end"] is None for each in processes] == [False, True, False]
    assert [each["command"][-1] for each in run["resumed"]] == ["killed", "last"]
    assert (run["command"][-1], run["exit_status"], run["end"]) == ("first", 0, processes[-1]["end"])
