"""A sweep's folder: `sweep.json` says which job has which number; all else is in the jobs' own run folders."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vgg_cifar.config import Config
from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import RunFolder, json_text, read_json, write
from vgg_cifar.runs.lock import Lock
from vgg_cifar.runs.manifest import now
from vgg_cifar.sweeps.job import Job, is_beside_the_point, key
from vgg_cifar.sweeps.versions import differences

LONGEST_NAME = 60
PLANNING_SECONDS = 60.0
"""How long another process may take to number its jobs before this one gives up."""


class Wanted(NamedTuple):
    """A run that a sweep should hold."""

    overrides: list[str]
    config: Config


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    number: Annotated[int, Field(ge=0)]
    folder: Annotated[str, Field(pattern=r"^[^/]+(/[^/]+)*$")]
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    overrides: list[str]


class _Stored(BaseModel):
    """`sweep.json`."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    name: str
    command: list[str]
    created: str
    versions: dict[str, Any]
    earlier_versions: list[dict[str, Any]] = []
    jobs: list[_Entry] = []


class Sweep:
    """Many runs in one folder.

    Attributes:
        path: the folder, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = RunFolder(path).path

    @property
    def file(self) -> Path:
        """What the sweep is."""
        return self.path / "sweep.json"

    def refuse_other_versions(self, versions: dict[str, Any]) -> None:
        """Refuse to add to a sweep that other code, packages or images began.

        Raises:
            UserError: naming what is not the same, or if the folder is something else than a sweep.
        """
        if RunFolder(self.path).config.exists():
            raise UserError(f"sweep: {self.path} is a run's own folder; name another sweep=...")
        stored = self._read()
        changed = list(differences(stored.versions, versions)) if stored is not None else []
        if changed:
            raise UserError(
                f"sweep: {self.path} was begun with other versions ({'; '.join(changed[:3])}); take those, name "
                "another sweep=..., or mix them with hydra.launcher.mix_versions=true"
            )

    def jobs(
        self,
        wanted: Sequence[Wanted],
        versions: dict[str, Any],
        command: list[str],
        subfolder: Callable[[int, list[str]], str],
    ) -> list[Job]:
        """The jobs that these runs are, in their order: known ones with the number they have, new ones added.

        Runs of the same configuration are one job. A folder that holds another run is refused before anything is
        written.

        Args:
            wanted: the runs.
            versions: see `versions.versions`.
            command: what was typed.
            subfolder: names a new job's folder within the sweep's, by its number and overrides.

        Raises:
            UserError: if a folder is not what it should be.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = Lock(self.path / ".lock")
        if not lock.take(PLANNING_SECONDS):
            raise UserError(f"sweep: {self.path} is being planned by another process; try again")
        try:
            return self._planned(wanted, versions, command, subfolder)
        finally:
            lock.release()

    def _planned(
        self,
        wanted: Sequence[Wanted],
        versions: dict[str, Any],
        command: list[str],
        subfolder: Callable[[int, list[str]], str],
    ) -> list[Job]:
        stored = self._read() or _Stored(name=self.path.name, command=command, created=now(), versions=versions)
        if list(differences(stored.versions, versions)):
            stored.earlier_versions.append(stored.versions)
            stored.versions = versions
        known = {entry.key: entry for entry in stored.jobs}
        folders = {entry.folder for entry in stored.jobs}
        jobs = {}
        for overrides, config in wanted:
            its_key = key(config.model_dump())
            if its_key not in known:
                number = max((entry.number for entry in stored.jobs), default=-1) + 1
                folder = subfolder(number, overrides)
                if folder in folders or not (self.path / folder).resolve().is_relative_to(self.path.resolve()):
                    raise UserError(f"hydra.sweep.subdir: {folder} is no folder of job {number}'s own in {self.path}")
                folders.add(folder)
                stored.jobs.append(_Entry(number=number, folder=folder, key=its_key, overrides=overrides))
                known[its_key] = stored.jobs[-1]
            entry = known[its_key]
            jobs[its_key] = Job(entry.number, its_key, self.path / entry.folder, overrides, config)
        for job in jobs.values():
            job.refuse_another_run()
        write(self.file, json_text(stored.model_dump()))
        return list(jobs.values())

    def _read(self) -> _Stored | None:
        content = read_json(self.file)
        if not content:
            return None
        try:
            return _Stored.model_validate(content)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            place = ".".join(str(each) for each in fault["loc"])
            raise UserError(f"{self.file} is damaged: {place}: {fault['msg']}") from error


def default_name(name: str, swept: Sequence[str], fixed: Iterable[str]) -> str:
    """What a sweep is called that nobody named: the same for any values of the same options over the same basis.

    Args:
        name: of its runs.
        swept: the options or groups that are swept.
        fixed: all other overrides.
    """
    telling = sorted(each for each in fixed if not is_beside_the_point(each.partition("=")[0].lstrip("+~")))
    digest = hashlib.sha256(repr((name, sorted(swept), telling)).encode()).hexdigest()[:6]
    leaves = "_".join(re.sub(r"\W+", "", each.rpartition(".")[2].rpartition("/")[2]) for each in swept)
    return f"{(leaves or name)[:LONGEST_NAME]}_{digest}"
