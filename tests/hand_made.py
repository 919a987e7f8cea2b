"""Folders of runs that nobody trained: a real configuration, and numbers that a test chooses."""

from functools import cache
from pathlib import Path
from typing import Any

from vgg_cifar.composition import compose_and_check
from vgg_cifar.runs.folder import RunFolder

MADE_OF = {
    "git": {"commit": "0123456789" * 4, "dirty": False},
    "packages": {"python": "3.11.7", "torch": "2.15.0"},
    "hardware": {"cpu": "a CPU", "threads": 2, "gpus": [], "accelerator": "cpu", "precision": "32-true", "ranks": 1},
    "data": {"synthetic": "seed 0"},
}
RESULT = {
    "status": "finished", "epochs": 2, "steps": 10, "test_reads": 1, "tested_checkpoint": "best", "tested_epoch": 2,
    "test/loss": 1.5, "train/loss": 1.25, "train_seconds": 40.0, "total_seconds": 60.0, "images_per_second": 150.0,
}  # fmt: skip


@cache
def configuration(*overrides: str) -> dict[str, Any]:
    """What `data=synthetic` with these overrides is in full."""
    return compose_and_check(["data=synthetic", *overrides]).raw


def make_run(
    path: Path, *overrides: str, seed: int = 0, manifest: dict[str, Any] | None = None, **result: Any
) -> RunFolder:
    """Write a run's folder.

    Args:
        path: the folder, made.
        overrides: what was typed, the seed apart.
        seed: of the run.
        manifest: what it says beyond `MADE_OF`.
        result: what it says beyond `RESULT`; `test_top1` stands for test/top1, and None takes something away.
    """
    folder = RunFolder(path)
    path.mkdir(parents=True)
    folder.write_config(configuration(*overrides) | {"seed": seed})
    folder.write_manifest({"overrides": ["data=synthetic", *overrides, f"seed={seed}"]} | MADE_OF | (manifest or {}))
    named = {key.replace("_top", "/top"): value for key, value in result.items()}
    folder.write_result({key: value for key, value in (RESULT | named).items() if value is not None})
    return folder
