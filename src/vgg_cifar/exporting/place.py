"""Where exported files lie: made aside, put in their place once they are proven, with an account of each."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vgg_cifar.errors import RunError
from vgg_cifar.runs.folder import json_text, read_json, why_not, write


class Place:
    """A folder for exported files.

    Attributes:
        path: the folder.
        aside: another one in it, for files in the making; it goes away with whatever is still there.
    """

    def __init__(self, path: Path, aside: Path) -> None:
        self.path = path
        self.aside = aside

    @property
    def account(self) -> Path:
        """What is known of each file."""
        return self.path / "export.json"

    def keep(self, name: str, entry: dict[str, Any]) -> None:
        """Put a file into its place, and its account beside those of the files that lie there already.

        Args:
            name: of the format.
            entry: what is known of the file; its name is under `file`.
        """
        try:
            (self.aside / entry["file"]).replace(self.path / entry["file"])
        except OSError as error:
            raise RunError(f"{self.path} does not take {entry['file']}: {why_not(error, self.path)}") from error
        write(self.account, json_text(self._known() | {name: entry}))

    def _known(self) -> dict[str, Any]:
        """The accounts of files that are still there."""
        return {name: entry for name, entry in read_json(self.account).items() if self._has(entry)}

    def _has(self, entry: Any) -> bool:
        file = entry.get("file") if isinstance(entry, dict) else None
        return isinstance(file, str) and file in {path.name for path in self.path.iterdir()}


@contextmanager
def place(path: Path) -> Iterator[Place]:
    """Make a folder for exported files; where none was kept, it is gone again.

    Raises:
        UserError: if it holds an account that cannot be read.
    """
    new = list(_missing(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
        read_json(path / "export.json")
        with tempfile.TemporaryDirectory(prefix=".new-", dir=path) as aside:
            yield Place(path, Path(aside))
    finally:
        with suppress(OSError):
            for folder in new:
                folder.rmdir()


def describe_file(path: Path) -> dict[str, Any]:
    """Its name, size and checksum."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}


def _missing(path: Path) -> Iterable[Path]:
    """The folder and those above it that are not there, the innermost first."""
    for folder in (path, *path.parents):
        if folder.exists():
            return
        yield folder
