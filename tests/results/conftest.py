"""Folders of runs to make records of."""

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
