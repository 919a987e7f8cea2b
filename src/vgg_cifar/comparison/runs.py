"""From folders to runs: what each one says of itself, whatever state its folder is in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vgg_cifar.choices import groups
from vgg_cifar.composition import with_later_options
from vgg_cifar.errors import UserError, first_line, redacted
from vgg_cifar.options import flat, spelled
from vgg_cifar.runs.folder import RunFolder, read_json

FINISHED = "finished"
QUEUED = "queued"
DAMAGED = "damaged"
NOT_BEGUN = "not begun"
STATES = (FINISHED, "running", "interrupted", "failed")
"""What a run says of itself in `result.json`; the three above are what a reader finds."""
SWEEP = "sweep.json"


@dataclass(frozen=True)
class Run:
    """A run, as far as its folder can be read.

    Attributes:
        number: its place in the list, from 0; in a sweep that of the job.
        folder: where it lies, or will.
        status: one of `STATES`, or "queued", "damaged", "not begun".
        error: why it failed, or why its folder cannot be read.
        options: every option as typed, by its dotted key; of a run that left no configuration, what was typed for it.
        raw: the stored configuration; empty where there is none.
        overrides: what was typed.
        result: its `result.json`.
        manifest: its `manifest.json`.
    """

    number: int
    folder: RunFolder
    status: str
    error: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    result: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether its numbers count."""
        return self.status == FINISHED

    @property
    def seed(self) -> str | None:
        """As typed; None where it is not known."""
        return self.options.get("seed")

    def number_of(self, name: str) -> float | None:
        """A finite number of the result: a fraction, a loss, seconds, a count; None where there is none."""
        value: Any = self.result.get(name)
        return float(value) if type(value) in (int, float) and abs(value) < 2**63 else None

    def metrics(self) -> dict[str, float]:
        """Every number of the result by its name."""
        found = {name: self.number_of(name) for name in self.result}
        return {name: value for name, value in found.items() if value is not None}

    def processes(self) -> list[dict[str, Any]]:
        """What the manifest says of the process that began the run, and of each that went on with it."""
        resumed = self.manifest.get("resumed")
        return [each for each in (self.manifest, *(resumed if isinstance(resumed, list) else ())) if each]


@dataclass(frozen=True)
class Sweep:
    """What a sweep's folder says of it.

    Attributes:
        folder: where it lies.
        name: its name.
        command: what was typed to make it.
        versions: commit, code, packages and data it began with.
    """

    folder: Path
    name: str
    command: tuple[str, ...]
    versions: dict[str, Any]


def find(sources: Sequence[Path]) -> tuple[list[Run], list[Sweep]]:
    """All runs in some folders, at any depth; links are not followed, and nothing is looked for inside a run.

    Raises:
        UserError: if a folder is not there, or there is no run in any.
    """
    runs: list[Run] = []
    sweeps: list[Sweep] = []
    known: set[Path] = set()
    shapes: dict[Any, dict[str, Any]] = {}
    for source in sources:
        if not source.is_dir():
            raise UserError(f"runs: there is no folder {source}")
        for folder, overrides in _folders(source, sweeps):
            if folder.path not in known:
                known.add(folder.path)
                runs.append(replace(_read(folder, overrides, shapes), number=len(runs)))
    if not runs:
        raise UserError(f"runs: there is no run in {', '.join(map(str, sources))} (no config.yaml, no result.json)")
    return runs, sweeps


def _folders(root: Path, sweeps: list[Sweep]) -> Iterator[tuple[RunFolder, tuple[str, ...]]]:
    """Folders of runs with what their sweep says was typed for them; jobs that have no folder yet among them."""
    pending = [root]
    while pending:
        here = pending.pop()
        names = {each.name: each for each in _entries(here)}
        if _is_run(names):
            yield RunFolder(here), ()
            continue
        inside = {name: Path(each) for name, each in names.items() if each.is_dir(follow_symlinks=False)}
        if SWEEP in names:
            for folder, overrides in _jobs(here, names[SWEEP], sweeps):
                inside.pop(folder, None)
                yield RunFolder(here / folder), overrides
        pending += sorted(inside.values(), key=lambda path: _natural(path.name), reverse=True)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []  # somebody else's, or gone since


def _is_run(names: Iterable[str]) -> bool:
    return bool({"config.yaml", "result.json"} & set(names))


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which 10 comes after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,18})", name)]


def _jobs(root: Path, entry: os.DirEntry[str], sweeps: list[Sweep]) -> list[tuple[str, tuple[str, ...]]]:
    """The folder and the overrides of each job of a sweep; none where its file cannot be read."""
    try:
        content = {} if entry.is_symlink() else read_json(root / SWEEP)
    except UserError:
        return []
    jobs = [job for job in content["jobs"] if isinstance(job, dict)] if isinstance(content.get("jobs"), list) else []
    versions = content.get("versions")
    sweeps.append(
        Sweep(
            root,
            str(content.get("name", root.name)),
            _texts(content.get("command")),
            versions if isinstance(versions, dict) else {},
        )
    )
    found = [(str(job.get("folder", "")), _texts(job.get("overrides"))) for job in jobs]
    return [(name, typed) for name, typed in dict(found).items() if _is_inside(root, name)]


def _is_inside(root: Path, name: str) -> bool:
    """Whether this names a folder below, and no link leads out of it."""
    parts = name.split("/")
    if not all(re.fullmatch(r"[\w.,=-]{1,200}", part) and part.strip(".") for part in parts):
        return False
    return not any((root / "/".join(parts[:depth])).is_symlink() for depth in range(1, len(parts) + 1))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _read(folder: RunFolder, overrides: tuple[str, ...], shapes: dict[Any, dict[str, Any]]) -> Run:
    """What a folder says; a part that cannot be read makes the run a damaged one, and leaves the others."""
    run = Run(0, folder, QUEUED, overrides=overrides, options=_typed(overrides))
    if not folder.path.is_dir():
        return run
    faults = []
    content: dict[str, dict[str, Any]] = {}
    for name, path, read in (
        ("config", folder.config, folder.read_config),
        ("manifest", folder.manifest, folder.read_manifest),
        ("result", folder.result, folder.read_result),
    ):
        content[name] = {}
        try:
            if path.is_symlink():
                faults.append(f"{path.name} is a link, which is not followed")
            elif path.exists():
                content[name] = read()
        except (UserError, RecursionError, OSError) as error:
            faults.append(first_line(error).replace(str(path), path.name))
    raw, manifest, result = content["config"], content["manifest"], content["result"]
    if not overrides:
        typed = _texts(manifest.get("overrides"))
        run = replace(run, overrides=typed, options=_typed(typed))
    if raw:
        try:
            run = replace(run, options=_options(raw, shapes), raw=raw)
        except (RecursionError, ValueError, TypeError, AttributeError) as error:
            faults.append(f"{folder.config.name} is damaged: {first_line(error)}")
    status, told = result.get("status"), result.get("error")
    if folder.result.exists() and status not in STATES:
        faults.append(f"{folder.result.name} says no status")
    elif status == FINISHED and not raw:
        faults.append(f"there is no {folder.config.name}")
    if faults:
        status, told = DAMAGED, "; ".join(faults)
    elif status not in STATES:
        status = NOT_BEGUN if raw else QUEUED
    reason = redacted(told.strip().splitlines()[0]) if isinstance(told, str) and told.strip() else None
    return replace(run, status=str(status), error=reason, result=result, manifest=manifest)


def _typed(overrides: Iterable[str]) -> dict[str, str]:
    """What was typed, by key."""
    pairs = (each.lstrip("+").partition("=") for each in overrides)
    return {key: value for key, equals, value in pairs if equals}


def _options(raw: dict[str, Any], shapes: dict[Any, dict[str, Any]]) -> dict[str, str]:
    """Every option of a stored configuration, with those that came later.

    What came later follows from the names of the options and of the choices, which most runs share.
    """
    options = flat(raw)
    if "seed" not in options or not all(isinstance(raw.get(group, {}), dict) for group in groups()):
        raise ValueError("it is no run's configuration")
    shape = (frozenset(options), tuple(str(options.get(f"{group}.name")) for group in raw))
    if shape not in shapes:
        shapes[shape] = {key: value for key, value in flat(with_later_options(raw)).items() if key not in options}
    return {str(key): spelled(value) for key, value in (shapes[shape] | options).items()}
