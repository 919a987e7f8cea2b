"""A sweep's folder: `sweep.json` says which job has which number; all else is in the jobs' own run folders."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vgg_cifar.config import Config, is_beside_the_point
from vgg_cifar.errors import UserError
from vgg_cifar.overrides import option_of
from vgg_cifar.runs.folder import RunFolder, json_text, read_json, write
from vgg_cifar.runs.lock import Lock
from vgg_cifar.runs.manifest import now
from vgg_cifar.sweeps.job import Job, key, options_of
from vgg_cifar.sweeps.versions import differences

LONGEST_NAME = 60
SEARCH_MARK = ".search"
"""The file, in a search's folder, that tells it from those of other machines on the same study."""
PLANNING_SECONDS = 60.0
"""How long another process may take to number its jobs before this one gives up."""


class Wanted(NamedTuple):
    """A run that a sweep should hold."""

    overrides: list[str]
    config: Config


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    number: Annotated[int, Field(ge=0)]
    folder: Annotated[str, Field(pattern=r"^[^/\x00]+(/[^/\x00]+)*$")]
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

    @model_validator(mode="after")
    def _no_two_jobs_are_one(self) -> _Stored:
        for name in ("number", "folder"):
            if len({getattr(entry, name) for entry in self.jobs}) < len(self.jobs):
                raise ValueError(f"two jobs have the same {name}")
        return self


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

    def refuse_what_is_no_sweep(self) -> None:
        """Refuse a folder that holds something else, or whose links would have files written outside it.

        Raises:
            UserError: naming what is in the way.
        """
        if RunFolder(self.path).config.exists():
            raise UserError(f"sweep: {self.path} is a run's own folder; name another sweep=...")
        for each in self.path.iterdir() if self.path.is_dir() else ():
            if each.is_symlink():
                raise UserError(f"sweep: {each} is a link, and a sweep writes to nothing outside its folder; remove it")
        self._read()

    def refuse_another_kind(self, *, searches: bool) -> None:
        """Refuse to search in the folder of a grid, or to fill a grid into that of a search.

        Raises:
            UserError: if it is the other one's.
        """
        holds_a_search = (self.path / SEARCH_MARK).exists()
        if searches and self.file.exists() and not holds_a_search:
            raise UserError(f"sweep: {self.path} holds a sweep of every combination; name another sweep=...")
        if holds_a_search and not searches:
            raise UserError(f"sweep: {self.path} holds a search; add hydra/sweeper=optuna, or name another sweep=...")

    def refuse_other_versions(self, versions: dict[str, Any]) -> None:
        """Refuse to add to a sweep that other code, packages or images began.

        Raises:
            UserError: naming what is not the same.
        """
        stored = self._read()
        changed = list(differences(stored.versions, versions)) if stored is not None else []
        if changed:
            raise UserError(
                f"sweep: {self.path} was begun with other versions ({'; '.join(changed[:3])}); take those, name "
                "another sweep=..., or mix them with hydra.launcher.mix_versions=true"
            )

    def known(self, wanted: Wanted) -> Job | None:
        """The job that a run is, if it is one already.

        Raises:
            UserError: if `sweep.json` is damaged.
        """
        stored, its_key = self._read(), key(wanted.config.model_dump())
        for entry in stored.jobs if stored is not None else ():
            if entry.key == its_key:
                return Job(entry.number, its_key, self.path / entry.folder, wanted.overrides, wanted.config)
        return None

    def begun(self) -> list[tuple[Path, list[str]]]:
        """The folders of jobs that were begun, with their overrides, in the order of their numbers.

        Raises:
            UserError: if `sweep.json` is damaged.
        """
        stored = self._read()
        entries = sorted(stored.jobs, key=lambda entry: entry.number) if stored is not None else []
        jobs = [(self.path / entry.folder, entry.overrides) for entry in entries]
        return [(path, overrides) for path, overrides in jobs if RunFolder(path).config.is_file()]

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
            for entry in stored.jobs:
                entry.key = self._key_now(entry)
        known = {entry.key: entry for entry in stored.jobs}
        folders = {entry.folder for entry in stored.jobs}
        jobs = {}
        for overrides, config in wanted:
            its_key = key(config.model_dump())
            if its_key not in known:
                number = max((entry.number for entry in stored.jobs), default=-1) + 1
                folder = Path(subfolder(number, overrides)).as_posix()
                if folder in folders or not self._is_inside(folder):
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

    def _key_now(self, entry: _Entry) -> str:
        """A job's key with the options that came after it, where its folder tells what the others are."""
        folder = RunFolder(self.path / entry.folder)
        with suppress(UserError):
            return key(options_of(folder)) if folder.config.is_file() else entry.key
        return entry.key

    def _read(self) -> _Stored | None:
        content = read_json(self.file)
        if not content:
            return None
        try:
            stored = _Stored.model_validate(content)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            place = "".join(f"{each}." for each in fault["loc"])[:-1] or "jobs"
            raise UserError(f"{self.file} is damaged: {place}: {fault['msg'].removeprefix('Value error, ')}") from error
        for entry in stored.jobs:
            if not self._is_inside(entry.folder):
                raise UserError(f"{self.file} is damaged: job {entry.number} is not in this folder or behind a link")
        return stored

    def _is_inside(self, folder: str) -> bool:
        """Whether a job's folder is in the sweep's, with no link on the way."""
        here = self.path.resolve()
        return here in (here / folder).parents and (here / folder).resolve() == here / folder


def default_name(name: str, swept: Sequence[str], fixed: Iterable[str]) -> str:
    """What a sweep is called that nobody named: the same for any values of the same options over the same basis.

    Args:
        name: of its runs.
        swept: the options or groups that are swept, in any order.
        fixed: all other overrides.
    """
    swept = sorted(swept)
    telling = sorted(each for each in fixed if not is_beside_the_point(option_of(each)))
    digest = hashlib.sha256(repr((name, swept, telling)).encode()).hexdigest()[:6]
    leaves = "_".join(re.sub(r"\W+", "", re.split(r"[./]", each)[-1], flags=re.ASCII) for each in swept)
    return f"{(leaves or name)[:LONGEST_NAME]}_{digest}"
