"""Ctrl-C, or a signal that says the same, while a command imports what it needs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scripts import SOURCES

COMMANDS = sorted(path.stem for path in SOURCES.glob("*.py"))
Command = Callable[..., subprocess.CompletedProcess[str]]


def sent_at(module: str, tmp_path: Path, name: str = "SIGINT") -> str:
    """A folder with a module of this name: the process is sent a signal as it is imported."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / f"{module}.py").write_text(
        f"import os, signal\nos.kill(os.getpid(), signal.{name})\nraise ImportError('not sent')\n"
    )
    return str(tmp_path / "modules")


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("name", COMMANDS)
def test_is_one_line_and_the_exit_code_of_an_interruption(
    command: Command, tmp_path: Path, name: str, signal_name: str
) -> None:
    done = command(f"{name}.py", PYTHONPATH=sent_at("yaml", tmp_path, signal_name))
    assert (done.returncode, done.stderr) == (75, "interrupted before anything was begun\n")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_leaves_no_folder_where_hydra_has_made_one(command: Command, tmp_path: Path, name: str) -> None:
    modules = sent_at("lightning", tmp_path, name)
    done = command("train.py", "data=synthetic", f"hydra.run.dir={tmp_path}/runs/run", PYTHONPATH=modules)
    assert (done.returncode, done.stderr) == (75, "interrupted before anything was begun\n")
    assert [path.name for path in tmp_path.iterdir()] == ["modules"]


def test_is_ignored_where_the_command_was_started_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SOURCES / "evaluate.py"],
        env=os.environ | {"PYTHONPATH": sent_at("yaml", tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "not sent" in done.stderr
