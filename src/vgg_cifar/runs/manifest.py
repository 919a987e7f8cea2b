"""What a run was made of: enough to judge a number later, and to make it again."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from vgg_cifar.data.options import PROJECT
from vgg_cifar.runs.placement import launch

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "hydra-core",
    "omegaconf",
    "torchmetrics",
    "tensorboard",
    "numpy",
)
ENDING = ("end", "exit_status")
"""How a process ended: a time and an exit code, or nulls where it runs or was killed."""


def manifest(overrides: list[str], seed: int, data: dict[str, str], chosen: dict[str, Any]) -> dict[str, Any]:
    """Describe the run that starts now.

    Args:
        overrides: what was typed after `python src/train.py`.
        seed: the run's.
        data: a checksum per file.
        chosen: what was decided for this machine: accelerator, precision, number of ranks.
    """
    from vgg_cifar import hardware  # torch: a sweep needs the rest of this file, and answers a mistake without

    return {
        "command": ["python", "src/train.py", *overrides],
        "overrides": overrides,
        "launch": launch(),
        "seed": seed,
        "git": git_state(),
        "packages": packages(),
        "hardware": hardware.description() | chosen,
        "data": data,
        "start": now(),
        **dict.fromkeys(ENDING),
    }


def packages() -> dict[str, str]:
    """The versions of Python and of the packages that make the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def gone_on_with(begun: dict[str, Any], process: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run that goes on in another process, which has its own account under `resumed`.

    Args:
        begun: the run's.
        process: what `manifest` says of the new one.
    """
    own = ("command", "launch", "git", "packages", "hardware", "start", *ENDING)
    resumed = begun.get("resumed", [])
    first = {} if resumed else {"first": {key: begun.get(key) for key in ENDING}}
    return begun | first | {"resumed": [*resumed, {key: process[key] for key in own}]} | dict.fromkeys(ENDING)


def ended(begun: dict[str, Any], code: int) -> dict[str, Any]:
    """The manifest of a run whose last process ends now, and the run with it."""
    ending = {"end": now(), "exit_status": code}
    if resumed := begun.get("resumed"):
        begun = begun | {"resumed": [*resumed[:-1], resumed[-1] | ending]}
    return begun | ending


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git_state() -> dict[str, Any]:
    """The commit of the project and whether files differ from it; nulls outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", PROJECT, *words], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}
