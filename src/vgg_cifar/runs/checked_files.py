"""How Lightning writes and reads a run's checkpoints; apart from `checkpoints`, which are read without Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO

from vgg_cifar.runs.checkpoints import read, write


class CheckedFiles(CheckpointIO):
    """How Lightning writes and reads a run's checkpoints."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a file."""
        write(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Read a file, onto the CPU: what is loaded finds its own device."""
        return read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file."""
        Path(path).unlink(missing_ok=True)
