"""A job of a sweep: a run with a number, known by what it computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vgg_cifar.composition import with_later_options
from vgg_cifar.config import FOUND, Config, is_beside_the_point
from vgg_cifar.errors import UserError
from vgg_cifar.options import flat, quoted, spelled
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.lock import Lock


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        number: from 0, its own for as long as the sweep exists.
        key: of its configuration, see `key`.
        path: its run folder, which need not exist yet.
        overrides: as they would be typed for a single run.
        config: what they come to.
    """

    number: int
    key: str
    path: Path
    overrides: list[str]
    config: Config = field(repr=False)

    @property
    def folder(self) -> RunFolder:
        """Where it runs."""
        return RunFolder(self.path)

    @property
    def output(self) -> Path:
        """What its processes wrote to the screen, one after the other."""
        return self.path / "output.txt"

    def claim(self) -> Lock:
        """What whoever starts the job holds from before its start until it has judged its end."""
        return Lock(self.path / ".claim")

    def words(self) -> list[str]:
        """What to type after `python src/train.py`: the job's own overrides, and where to begin or go on."""
        where = "resume" if self.folder.config.is_file() else "hydra.run.dir"
        return [*self.overrides, f"{where}={quoted(str(self.path))}"]

    def refuse_another_run(self) -> None:
        """Refuse a folder that holds another run than this one.

        Raises:
            UserError: naming what differs.
        """
        if not self.folder.config.is_file():
            return
        stored = options_of(self.folder)
        if key(stored) != self.key:
            before, after = _telling(stored), _telling(flat(self.config.model_dump()))
            changed = [
                f"{option}: {spelled(before.get(option))} -> {spelled(after.get(option))}"
                for option in sorted(before.keys() | after.keys())
                if before.get(option) != after.get(option)
            ]
            raise UserError(
                f"sweep: {self.path} holds another run than job {self.number} ({'; '.join(changed[:3])}); "
                "move it away, or name another sweep=..."
            )


def options_of(folder: RunFolder) -> dict[str, Any]:
    """What a run that has begun was asked to do, by dotted key, with the options that came after it.

    Raises:
        UserError: if its folder cannot be read.
    """
    options = flat(with_later_options(folder.read_config()))
    tuned = folder.read_manifest().get("tuned")
    return options | {option: "auto" for option in FOUND if isinstance(tuned, dict) and option in tuned}


def key(raw: dict[str, Any]) -> str:
    """A hash of what a run computes, 16 digits: the same wherever it lies and however it is shown.

    Args:
        raw: its resolved options, nested or by dotted key.
    """
    return hashlib.sha256(json.dumps(sorted(_telling(flat(raw)).items()), default=str).encode()).hexdigest()[:16]


def _telling(options: dict[str, Any]) -> dict[str, Any]:
    return {option: value for option, value in options.items() if not is_beside_the_point(option)}


def labels(jobs: list[Job]) -> Iterator[str]:
    """For each job, the overrides that not all of them share; all of them where there is only one."""
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    for job in jobs:
        yield " ".join(override for override in job.overrides if override not in shared) or "as it is by default"
