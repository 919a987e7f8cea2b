"""The choices of every group: files in `conf/`, and in folders of a user's own that `hydra.searchpath` names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.options import did_you_mean, flat
from vgg_cifar.overrides import parse

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

CONF = PROJECT / "conf"

WITHOUT_OPTIONS = {
    "experiment": "a named set of choices",
    "debug": "a short run that shows whether all is well",
}
"""Groups that set the options of others."""
NO_OPTIONS = "should hold options: a line 'key: value' for each, with a space behind the colon and no '- ' before it"


def groups() -> list[str]:
    """The names of all groups, Hydra's own left out, in the order of the defaults list."""
    return [name for name in default_choices() if "/" not in name]


def default_choices() -> dict[str, str | None]:
    """What each group is if nothing is said."""
    listed = yaml.safe_load((CONF / "train.yaml").read_text())["defaults"]
    return {name: choice for item in listed if isinstance(item, dict) for name, choice in item.items()}


def places(typed: Iterable[Override]) -> list[Path]:
    """The folders that choices are looked for in: the shipped one, then those that `hydra.searchpath` names.

    Raises:
        UserError: if one is not there, or Hydra would not look in all of them, or not read one of their choices.
    """
    said = [each for each in typed if each.key_or_group == "hydra.searchpath"]
    if len(said) > 1 or any(each.is_add() or each.is_force_add() for each in said):
        raise UserError("hydra.searchpath: give all folders at once: hydra.searchpath=[...], without a +")
    found = [CONF]
    for value in (each.value() for each in said):
        for folder in value if isinstance(value, list) else [value]:
            path = str(folder).removeprefix("file://")
            if "://" in path or "$" in path or not Path(path).is_dir():
                raise UserError(f"hydra.searchpath: there is no folder {path}")
            for file in sorted(Path(path).glob("*/*.yaml")):
                shipped = CONF / file.relative_to(path)
                if shipped.is_file() and not shipped.samefile(file):
                    raise UserError(f"{file}: has the name of a shipped choice, which is taken; give it another name")
            found.append(Path(path))
    return found


def group_choices(group: str, among: Iterable[Path] = (CONF,)) -> list[str]:
    """The names of a group's choices in some folders."""
    return sorted({file.stem for place in among for file in (place / group).glob("*.yaml") if file.is_file()})


def choice_file(group: str, choice: str, among: Iterable[Path] = (CONF,)) -> Path | None:
    """The first folder's file of a choice, which is the one that Hydra takes; None where there is none."""
    files = (place / group / f"{choice}.yaml" for place in among)
    return next((file for file in files if file.is_file()), None)


def no_choice(group: str, given: str, among: Iterable[Path] = (CONF,)) -> str:
    """What to say of a choice that is not there, or of a group."""
    if group not in default_choices() and f"override {group}" not in default_choices():
        return f"{group}: there is no such group{did_you_mean(group, groups())}"
    found = group_choices(group, among)
    if not given:
        return f"{group}: is empty, should be one of {', '.join(found)}"
    near = did_you_mean(re.sub(r"\.ya?ml$", "", given), found) or _elsewhere(group, given, among)
    return f"{group}: there is no choice {given}, only {', '.join(found)}{near}"


def _elsewhere(group: str, given: str, among: Iterable[Path]) -> str:
    """Where a file with the name of the choice is that is missing, if it is near."""
    for place in among if re.fullmatch(r"[\w-]+", given) else ():
        for file in (*place.glob(f"{given}.y*ml"), *place.glob(f"*/{given}.y*ml")):
            if file.is_file():
                return f"; {file} would be it as {place / group / given}.yaml"
    return ""


def refuse_lost(path: Path, overrides: list[str], typed: list[str], again: str) -> None:
    """Refuse to compose a stored run anew without the folders that its choices were in.

    Args:
        path: the run's folder.
        overrides: of the run and of now.
        typed: those of now, which may be misspelt instead.
        again: what names a folder of choices.

    Raises:
        UserError: naming the first choice that is in none of the folders.
    """
    among = places(parse(typed))
    for each in parse([each for each in overrides if each not in typed]):
        group, choice = each.key_or_group, each.value()
        if group in groups() and isinstance(choice, str) and choice not in group_choices(group, among):
            looked = f", and it is not in {', '.join(map(str, among[1:]))}" if among[1:] else ""
            raise UserError(
                f"{group}: {path} has a choice of a user's own, {choice}{looked}; name the folder that holds "
                f"{group}/{choice}.yaml: {again}"
            )


class OwnChoice(NamedTuple):
    """A choice that is not shipped."""

    group: str
    file: Path
    header: str
    """The comments at its top."""
    content: dict[Any, Any]

    @property
    def sets(self) -> dict[str, Any]:
        """What it sets, by dotted key, as far as it stands in this file."""
        options = {str(key): value for key, value in self.content.items() if key != "defaults"}
        return flat(options if self.group in WITHOUT_OPTIONS else {self.group: options})

    @property
    def takes(self) -> Iterator[tuple[str, str]]:
        """The choices, with their groups, that it takes in its turn."""
        defaults = self.content.get("defaults")
        for each in defaults if isinstance(defaults, list) else ():
            if isinstance(each, str):
                yield self.group, each
            elif isinstance(each, dict):
                yield from ((_group(key), str(choice)) for key, choice in each.items())

    def refuse_malformed(self, among: Sequence[Path]) -> None:
        """Refuse what Hydra would read as something else than was meant, or answer without the file's name.

        Args:
            among: the folders of choices.

        Raises:
            UserError: naming the file.
        """
        is_global = re.search(r"^#\s*@package\s+_global_\s*$", self.header, re.MULTILINE)
        if self.group in WITHOUT_OPTIONS and not is_global:
            raise UserError(f"{self.file}: has to begin with the line '# @package _global_'")
        if self.group not in WITHOUT_OPTIONS and is_global:
            raise UserError(f"{self.file}: leave out '# @package _global_', the first line of experiments alone")
        defaults = self.content.get("defaults") or []
        if not isinstance(defaults, list):
            raise UserError(f"{self.file}: defaults: should be a list; begin each line below it with '- '")
        for fault in self._faults(defaults, among):
            raise UserError(f"{self.file}: defaults: {fault}")
        for key, value in self.content.items():
            if "." in str(key):
                raise UserError(f"{self.file}: {key}: has to be nested, as in '{_nested(str(key))}'")
            if self.group in WITHOUT_OPTIONS and key in groups() and not isinstance(value, dict | None):
                is_choice = isinstance(value, str) and re.fullmatch(r"[\w-]+", value)
                line = f"is a choice; write '- {self._taken(str(key), value)}' below defaults"
                how = line if is_choice else NO_OPTIONS
                raise UserError(f"{self.file}: {key}: {how}")

    def _faults(self, defaults: list[Any], among: Sequence[Path]) -> Iterator[str]:
        """What is wrong with lines of the defaults list."""
        files = [each for each in defaults if each != "_self_"]
        overriding = [isinstance(each, dict) and any("override" in str(key) for key in each) for each in files]
        if overriding != sorted(overriding):
            yield "write the lines with override behind the others"
        for each in defaults:
            if isinstance(each, str) and ":" in each:
                yield f"{each}: put a space behind the colon"
            elif isinstance(each, str) and each != "_self_" and each not in group_choices(self.group, among):
                yield no_choice(self.group, each, among)
            for key, choice in each.items() if isinstance(each, dict) else ():
                group = _group(key)
                if re.search("[/@]", group):  # Hydra's own, or another package
                    continue
                if group not in groups():
                    yield f"{group}: there is no such group{did_you_mean(group, groups())}"
                elif key != f"override /{group}":
                    yield f"{key}: write '- {self._taken(group, choice)}'"
                elif isinstance(choice, str) and choice not in group_choices(group, among):
                    yield no_choice(group, choice, among)

    def _taken(self, group: str, choice: Any) -> str:
        """The line of the defaults list by which this choice takes another."""
        return str(choice) if group == self.group else f"override /{group}: {choice}"


def _group(key: Any) -> str:
    """The group that a key of a defaults list names: `override /optimizer`, `/optimizer` or `optimizer`."""
    return re.sub("^(override )? */?", "", str(key))


def _nested(key: str) -> str:
    """A dotted key as YAML: `a: {b: ...}`."""
    outer, dot, inner = key.partition(".")
    return f"{outer}: {{{_nested(inner)}}}" if dot else f"{outer}: ..."


def own_choices(typed: Sequence[Override], among: Sequence[Path]) -> list[OwnChoice]:
    """The choices of a user's own that were taken on the command line, and by each other.

    Files that cannot be read as YAML are left to Hydra, which says where.

    Raises:
        UserError: for a file that holds something else than options.
    """
    waiting = [(each.key_or_group, str(each.value())) for each in typed if each.key_or_group in groups()]
    found: dict[Path, OwnChoice] = {}
    while waiting:
        group, name = waiting.pop()
        file = choice_file(group, name, among) if name in group_choices(group, among) else None
        if file is None or file in found or file.is_relative_to(CONF):
            continue
        try:
            text = file.read_text()
            content = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, OSError):
            continue
        if not isinstance(content, dict | None):
            raise UserError(f"{file}: {NO_OPTIONS}")
        header = takewhile(lambda line: not line or line.startswith("#"), text.splitlines())
        found[file] = OwnChoice(group, file, "\n".join(header), content or {})
        waiting += found[file].takes
    return list(found.values())
