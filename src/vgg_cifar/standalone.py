"""A run in a process of its own: what a person would type, without the ranks of whoever starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import FAILED, INTERRUPTED

OF_A_LAUNCHER = (
    r"(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|NODE_RANK|MASTER_(ADDR|PORT)|TORCHELASTIC_\w+|"
    r"SLURM_(?!(CONF|CONF_SERVER|JWT)$)\w+"
)
"""Variables by which torchrun, SLURM and Lightning tell a process that it is a rank. Those kept say where SLURM is."""


def command(overrides: list[str]) -> list[str]:
    """`python src/train.py` with these overrides, by this Python."""
    return [sys.executable, str(PROJECT / "src" / "train.py"), *overrides]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what would make a run a rank of another, and with some variables more."""
    return {name: value for name, value in os.environ.items() if not re.fullmatch(OF_A_LAUNCHER, name)} | more


def train(words: list[str]) -> int:
    """Run `src/train.py` as a person would, in the foreground; what should end this process ends that one first.

    Returns:
        Its exit code.
    """
    process = subprocess.Popen(command(words), env=environment())
    # A terminal sends Ctrl-C and its own end to both processes, anything else only to this one.
    handlers: dict[signal.Signals, Callable[..., Any] | signal.Handlers] = {
        signal.SIGINT: signal.SIG_IGN,
        signal.SIGHUP: signal.SIG_IGN,
        signal.SIGTERM: lambda *_: process.terminate(),
        signal.SIGUSR2: lambda *_: process.terminate(),
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code >= 0:
        return code
    return INTERRUPTED if -code in handlers else FAILED
