"""What `src/predict.py` may be asked, as `key=value`."""

from __future__ import annotations

from typing import Literal

from vgg_cifar.options import Count, Options


class PredictionOptions(Options):
    """How to answer."""

    top: Count = 5
    """Classes per image, the likeliest first."""
    format: Literal["table", "json", "csv"] | None = None
    """What an answer looks like; None: as the name of the file it goes to ends, or a table."""

    def named(self, suffix: str) -> str:
        """The format of answers that go to a file whose name ends so; nothing is standard output.

        Args:
            suffix: with its dot.
        """
        if self.format is not None:
            return self.format
        return {".json": "json", ".csv": "csv"}.get(suffix.lower(), "table")
