"""Folders of runs to make records of."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hand_made import MADE_OF, make_run

from vgg_cifar.runs.folder import RunFolder

OF_A_RUN = {
    "start": "2026-01-02T03:04:05+00:00",
    "hardware": MADE_OF["hardware"] | {"cores": 4},  # type: ignore[operator]
}


@pytest.fixture
def evaluation(tmp_path: Path) -> Callable[..., Path]:
    """Make what an evaluation of networks leaves, of their accuracies: each alone, with TTA, together, and both."""

    def make(
        single: Sequence[float],
        single_tta: Sequence[float] = (),
        together: float = 0.0,
        together_tta: float = 0.0,
        **changed: Any,
    ) -> Path:
        members: list[dict[str, Any]] = [{"test/top1": each, "test/top5": 0.9} for each in single]
        if single_tta:
            for member, accuracy in zip(members, single_tta, strict=True):
                member["tta"] = {"name": "flip", "views": 2, "test/top1": accuracy}
        metrics = {"git": {"commit": "abcdef0123", "dirty": False}, "accelerator": "cpu", "precision": "32-true"}
        if len(members) == 1:
            metrics |= members[0]
        else:
            metrics |= {"members": members, "test/top1": together}
            if single_tta:
                metrics["tta"] = {"name": "flip", "views": 2, "test/top1": together_tta}
        folder = tmp_path / f"evaluation_{len(list(tmp_path.glob('evaluation_*')))}"
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps(metrics | changed))
        return folder

    return make


@pytest.fixture
def seeds(tmp_path: Path) -> Callable[..., list[RunFolder]]:
    """Make a finished run of two epochs per accuracy, with the seeds 0, 1, ..., in `to`."""

    def make(
        accuracies: Sequence[float], *overrides: str, to: str = "runs", manifest: dict[str, Any] | None = None
    ) -> list[RunFolder]:
        found = []
        for seed, accuracy in enumerate(accuracies):
            results = {"test_top1": accuracy, "test_top5": 0.9, "val_top1": accuracy + 0.01}
            said = OF_A_RUN | (manifest or {})
            folder = make_run(tmp_path / to / str(seed), *overrides, seed=seed, manifest=said, **results)
            folder.write_metrics(
                [
                    {
                        "step": 5 * epoch,
                        "epoch": epoch - 1,
                        "train/loss": 3.0 / epoch,
                        "test/top1": accuracy * epoch / 2,
                    }
                    for epoch in (1, 2)
                ]
            )
            found.append(folder)
        return found

    return make
