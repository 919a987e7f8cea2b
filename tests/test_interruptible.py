"""Ctrl-C while a command imports what it needs."""

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


@pytest.fixture
def pressed(tmp_path: Path) -> Path:
    """A folder of modules: with the one that is imported in place of YAML's, the user presses Ctrl-C."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "yaml.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise ImportError('not pressed')\n"
    )
    return tmp_path / "modules"


@pytest.mark.parametrize("name", COMMANDS)
def test_is_one_line_and_the_exit_code_of_an_interruption(command: Command, pressed: Path, name: str) -> None:
    done = command(f"{name}.py", PYTHONPATH=str(pressed))
    assert (done.returncode, done.stderr) == (75, "interrupted before anything was begun\n")


def test_is_ignored_where_the_command_was_started_so(pressed: Path) -> None:
    done = subprocess.run(
        [sys.executable, SOURCES / "evaluate.py"],
        env=os.environ | {"PYTHONPATH": str(pressed)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "not pressed" in done.stderr
