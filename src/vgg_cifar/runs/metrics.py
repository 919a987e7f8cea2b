"""`metrics.csv`: every scalar that TensorBoard gets, under the same name, readable anywhere."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from vgg_cifar.runs.folder import RunFolder


class MetricsFile(Logger):
    """A Lightning logger that keeps one row per step and rewrites the file after each epoch.

    Args:
        folder: where the file is.
        after_step: the last step whose row stays, when a run goes on.
    """

    def __init__(self, folder: RunFolder, after_step: int = -1) -> None:
        super().__init__()
        self.folder = folder
        kept = [row for row in folder.read_metrics() if row["step"] <= after_step]
        self._rows = {int(row["step"]): row for row in kept}

    @property
    def name(self) -> str:
        """For Lightning."""
        return "metrics"

    @property
    def version(self) -> str:
        """For Lightning."""
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """They are in `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add values to the row of a step."""
        step = step or 0
        self._rows.setdefault(step, {"step": step}).update({k: float(v) for k, v in metrics.items()})

    @rank_zero_only
    def save(self) -> None:
        """Write the file."""
        self.folder.write_metrics([self._rows[step] for step in sorted(self._rows)])

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the file."""
        self.save()
