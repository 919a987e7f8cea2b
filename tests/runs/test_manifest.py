"""The manifest: what a run was made of."""

import subprocess
from pathlib import Path

import pytest
import torch

from vgg_cifar.runs import manifest


def test_it_says_what_was_typed_on_what_with_what() -> None:
    said = manifest.manifest(["optimizer=adam"], 3, {"file": "hash"}, {"precision": "32-true"})
    assert said["command"] == ["python", "src/train.py", "optimizer=adam"]
    assert (said["seed"], said["data"]) == (3, {"file": "hash"})
    assert said["packages"]["torch"] in torch.__version__
    assert said["hardware"]["precision"] == "32-true"
    assert said["hardware"]["threads"] == torch.get_num_threads()
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
