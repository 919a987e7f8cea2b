"""A stored run, trained again from its manifest in a process and a folder of its own, and compared."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from vgg_cifar import standalone
from vgg_cifar.agreement import OFF, compare
from vgg_cifar.choices import refuse_lost
from vgg_cifar.composition import (
    Composed,
    compose_and_check,
    refuse_changes_of_hydra,
    with_later_options,
)
from vgg_cifar.config import Config
from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.errors import DONE, FAILED, INTERRUPTED, UserError, printable
from vgg_cifar.options import flat, is_within, quoted, spelled
from vgg_cifar.overrides import parse, with_typed
from vgg_cifar.parts import evaluated_images, make_datamodule, make_trainer
from vgg_cifar.reporting import terminal
from vgg_cifar.runs import placement
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.manifest import manifest
from vgg_cifar.teachers import Source
from vgg_cifar.teaching import find_teachers

MOST_OVERRIDES, LONGEST_OVERRIDE = 200, 2000
OF_THE_FOLDER = r"(logger|resume|data\.download)\b"
"""What a reproduction does not take over: whom to tell, where to go on, and the right to fetch files."""
MAY_DIFFER = ("logger", "resume", "data.root", "data.download", "data.memory")
MOST_NEIGHBOURS = 200


class Process(BaseModel):
    """A process of a run, as far as its manifest says so."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    command: list[str] = []
    git: dict[str, Any] = {}
    packages: dict[str, Any] = {}
    hardware: dict[str, Any] = {}


class _Manifest(Process):
    overrides: list[str]
    data: dict[str, str] = {}
    tuned: dict[str, int | float] = {}
    teachers: list[dict[str, str]] = []
    resumed: list[Process] = []

    @property
    def last(self) -> Process:
        return self.resumed[-1] if self.resumed else self


class Difference(NamedTuple):
    """Something that was not the same when a run was made and when it was made again."""

    what: str
    then: str
    now: str


def reproduce(folder: RunFolder, to: str | None, typed: list[str]) -> int:
    """Train a finished run again, say how what came out agrees, and write that to `reproduction.json`.

    Args:
        folder: the run's; nothing is written to it, and it is not trusted.
        to: where the new run lies, or goes on; None makes a folder in `outputs/reproductions/`.
        typed: overrides that only the command line may give.

    Returns:
        0 for identical or within seed noise, 1 for off; the new run's exit code where it did not finish.

    Raises:
        UserError: if the run cannot be made again here.
    """
    if placement.rank():
        raise UserError("run: a reproduction starts its ranks itself; call it without torchrun or srun")
    result, stored = folder.read_result(), _manifest(folder)
    if result.get("status") != "finished":
        raise UserError(f"run: {folder.path} is {result.get('status', 'empty')}; only a finished run can be compared")
    overrides = _overrides(folder, stored, typed)
    composed = _composed(folder, overrides)
    again = _new_folder(folder, to, composed)
    datamodule = make_datamodule(composed.config)
    hashes = datamodule.dataset.hashes
    _same_images(folder, stored.data, hashes)
    teachers = find_teachers(composed.config, datamodule.dataset)
    _same_teachers(folder, stored, [] if teachers is None else teachers.sources)
    finished = again.read_result().get("status") == "finished"
    if finished:
        now = _manifest(again)
    else:
        _fits_this_machine(composed.config)
        _, chosen = make_trainer(composed.config, [], [])
        now = _Manifest(**manifest(overrides, composed.config.seed, hashes, chosen))
    found, notes = list(differences(stored.last, now.last)), list(_notes(stored, now, composed.config))
    images = evaluated(composed.config, datamodule, now.last.hardware.get("ranks"))
    del datamodule, teachers
    title = f"Comparing {folder.path} with {again.path}" if finished else f"Training {folder.path} again"
    terminal.circumstances(title, found, notes)
    if not finished:
        code = _train(again, overrides, typed)
        if code != DONE:
            after = f"to={again.path} goes on" if code == INTERRUPTED else "nothing was compared"
            print(f"The reproduction ended with exit code {code}; {after}")
            return code
    agreement = compare(folder, again, images, _other_seeds(folder, composed))
    terminal.agreement(agreement)
    record = {"run": str(folder.path), **agreement.record(), "differences": [each._asdict() for each in found]}
    again.write_reproduction(record | {"notes": notes})
    print(f"Written down: {again.reproduction}")
    return FAILED if agreement.verdict == OFF else DONE


def _manifest(folder: RunFolder) -> _Manifest:
    try:
        return _Manifest.model_validate(folder.read_manifest())
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(each) for each in fault["loc"][:2])
        raise UserError(f"{folder.manifest} is damaged or missing: {place}: {fault['msg']}") from error


def _overrides(folder: RunFolder, stored: _Manifest, typed: list[str]) -> list[str]:
    """The overrides of the run's last process, without what a folder may not say, and those typed now."""
    said = stored.last.command[2:] if stored.resumed else stored.overrides
    if len(said) > MOST_OVERRIDES or any(len(each) > LONGEST_OVERRIDE for each in said):
        raise UserError(f"{folder.manifest} is refused: it has more overrides, or longer ones, than a person types")
    for each in said:
        if each.startswith("-") or not each.isprintable():
            raise UserError(f"{folder.manifest} is refused: {each!r} is no override")
    kept = [each for each in said if not re.match(OF_THE_FOLDER, parse([each])[0].key_or_group)]
    merged = with_typed(kept, stored.tuned, folder.read_config(), typed)
    refuse_lost(folder.path, merged, typed, "'hydra.searchpath=[FOLDER]'")
    return merged


def _composed(folder: RunFolder, overrides: list[str]) -> Composed:
    """What the overrides come to, if that is what the run was."""
    composed = compose_and_check(overrides)
    refuse_changes_of_hydra(composed)
    changed = [
        f"{shown(key)}: {shown(old)} -> {shown(new)}" for key, old, new in changes(folder.read_config(), composed.raw)
    ]
    if changed:
        raise UserError(
            f"run: what {folder.path} was told no longer makes the configuration in its config.yaml "
            f"({'; '.join(changed[:3])}); take the commit that it was made with"
        )
    return composed


def _fits_this_machine(config: Config) -> None:
    nodes, devices = config.trainer.num_nodes, config.trainer.devices
    if nodes > 1:
        raise UserError(
            f"run: it was trained on {nodes} machines; start its command by their launcher, then compare with to=FOLDER"
        )
    if devices != "auto" and devices > max(2, os.cpu_count() or 1):
        raise UserError(f"run: it was trained by {devices} processes, more than this machine has cores")


def changes(stored: dict[str, Any], raw: dict[str, Any], *free: str) -> Iterator[tuple[str, str, str]]:
    """The options that a stored configuration and a composed one do not share, but for where and how to look on."""
    before, after = flat(with_later_options(stored)), flat(raw)
    for key in sorted(before.keys() | after.keys()):
        may = is_within(key, (*MAY_DIFFER, *free))
        if before.get(key) != after.get(key) and not may:
            yield key, spelled(before.get(key)), spelled(after.get(key))


def _new_folder(folder: RunFolder, to: str | None, composed: Composed) -> RunFolder:
    """Where the new run lies, if nothing else does."""
    default = placement.OUTPUTS / "reproductions" / f"{composed.config.name}_{placement.run_id()}"
    again = RunFolder(default if to is None else to)
    if again.path.resolve().is_relative_to(folder.path.resolve()):
        raise UserError(f"to: {again.path} is the run itself or within it; name another folder")
    if again.config.is_file():
        changed = [key for key, *_ in changes(again.read_config(), composed.raw)]
        if changed:
            raise UserError(
                f"to: {again.path} holds another run ({shown(', '.join(changed[:3]))} differ); name another folder"
            )
        if again.in_use():
            raise UserError(f"to: {again.path} is in use by another process: wait for it or name another folder")
    return again


def _same_images(folder: RunFolder, then: dict[str, str], now: dict[str, str]) -> None:
    different = sorted(file for file in then.keys() | now.keys() if then.get(file) != now.get(file))
    if then and different:
        raise UserError(
            f"run: {folder.path} saw other images: the checksums of {shown(', '.join(different[:3]))} differ"
        )


def _same_teachers(folder: RunFolder, then: _Manifest, now: list[Source]) -> None:
    known = [each.get("sha256") for each in then.teachers]
    for place, source in enumerate(now):
        if known[place : place + 1] != [source.sha256]:
            raise UserError(f"run: {folder.path} had another teacher: the checksum of {source.run} differs")


def differences(then: Process, now: Process) -> Iterator[Difference]:
    """What is not the same of code, packages and hardware; only what is known now is looked for in a folder."""
    for part in ("git", "packages", "hardware"):
        before, after = getattr(then, part), getattr(now, part)
        for key, value in after.items():
            if key != "reason" and before.get(key) != value:
                yield Difference("uncommitted files" if key == "dirty" else key, shown(before.get(key)), shown(value))


def shown(value: Any) -> str:
    """A value from a folder, as one that a terminal can be given."""
    if value is None:
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "none"
    text = re.sub(r"^([0-9a-f]{10})[0-9a-f]{30}$", r"\1", str(value))
    return printable(text[:80])


def _notes(stored: _Manifest, now: _Manifest, config: Config) -> Iterator[str]:
    """What else a reader should know before believing a comparison."""
    if stored.last.git.get("dirty") and now.last.git.get("dirty"):
        yield "both were made by files that no commit holds, so the code may differ"
    if not stored.data:
        yield "the manifest has no checksums of the images"
    if (weights := getattr(config.model, "weights", None)) is not None:
        yield f"it began with the weights in {shown(weights)}, of which the manifest has no checksum"
    if not stored.resumed:
        return
    commits = {str(each.git.get("commit")) for each in (stored, *stored.resumed)}
    others = f", by {len(commits)} commits in all" if len(commits) > 1 else ""
    yield f"the run went on {len(stored.resumed)} x{others}; the new one is made in one go"
    apart = ("resume", "hydra", "allow", *MAY_DIFFER, *stored.tuned)
    began, ended = (
        {each for each in said if not each.lstrip("+~").startswith(apart)}
        for said in (stored.overrides, stored.last.command[2:])
    )
    if began != ended:
        later = ", ".join(sorted(ended - began)[:3])
        yield f"it went on with {shown(later)}, which the new one has from its start"


def evaluated(config: Config, datamodule: DataModule, ranks: Any) -> dict[str, int]:
    """How many images of each split an evaluation reads."""
    counts = {"val": len(datamodule.val or ()), "test": len(datamodule.dataset.test)}
    ranks = ranks if type(ranks) is int else 1
    return {split: evaluated_images(config, split, count, ranks) for split, count in counts.items()}


def _train(again: RunFolder, overrides: list[str], typed: list[str]) -> int:
    """Run `src/train.py` as a person would, or let it go on; the exit code."""
    where = "resume" if again.config.is_file() else "hydra.run.dir"
    return standalone.train([*(typed if where == "resume" else overrides), f"{where}={quoted(str(again.path))}"])


def _other_seeds(folder: RunFolder, composed: Composed) -> Iterator[RunFolder]:
    """Finished runs beside this one that differ from it, and from each other, in their seed."""
    seen = {composed.config.seed}
    for path in sorted(folder.path.parent.glob("*/config.yaml"))[:MOST_NEIGHBOURS]:
        neighbour = RunFolder(path.parent)
        try:
            stored = neighbour.read_config()
            seed, other = stored.get("seed"), next(changes(stored, composed.raw, "seed", "tags"), None)
            finished = neighbour.read_result().get("status") == "finished"
        except (UserError, RecursionError):
            continue  # a damaged neighbour is no yardstick
        if other is None and finished and type(seed) is int and seed not in seen:
            seen.add(seed)
            yield neighbour
