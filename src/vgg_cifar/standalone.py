"""A run in a process of its own: what a person would type, without the ranks of whoever starts it."""

from __future__ import annotations

import os
import re
import sys

from vgg_cifar.data.options import PROJECT

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
