"""The choices of every group: files in `conf/`, and in folders of a user's own that `hydra.searchpath` names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from vgg_cifar.config import Config
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError, first_line
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
ONE_CHOICE = "takes one choice, to which options may be added; give several to a sweep (-m)"
NO_OPTIONS = "should hold options: a line 'key: value' for each, with a space behind the colon and no '- ' before it"


@cache
def groups() -> tuple[str, ...]:
    """The names of all groups, Hydra's own left out, in the order of the defaults list."""
    return tuple(name for name in default_choices() if "/" not in name)


@cache
def default_choices() -> Mapping[str, str | None]:
    """What each group is if nothing is said."""
    listed = yaml.safe_load((CONF / "train.yaml").read_text())["defaults"]
    return MappingProxyType(
        {name: choice for item in listed if isinstance(item, dict) for name, choice in item.items()}
    )


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
                if file.is_file() and shipped.is_file() and not shipped.samefile(file):
                    raise UserError(f"{file}: has the name of a shipped choice, which is taken; give it another name")
            found.append(Path(path))
    return found


def group_choices(group: str, among: Iterable[Path] = (CONF,)) -> list[str]:
    """The names of a group's choices in some folders."""
    return sorted({file.stem for place in among for file in (place / group).glob("*.yaml") if file.is_file()})


def choice_file(group: str, choice: str, among: Iterable[Path] = (CONF,)) -> Path | None:
    """The first folder's file of a choice, which is the one that Hydra takes; None where there is none.

    Args:
        group: its group.
        choice: its name; `a/b` is the file `b.yaml` in a folder `a` of the group's.
        among: the folders, in their order.
    """
    if {"", ".."} & set(choice.split("/")):
        return None
    files = (place / group / f"{choice}.yaml" for place in among)
    with suppress(OSError):  # a name that is too long
        return next((file for file in files if file.is_file()), None)
    return None


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
    for place in (place for place in among if place != CONF and re.fullmatch(r"[\w-]+", given)):
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
        if group in groups() and isinstance(choice, str) and choice_file(group, choice, among) is None:
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
    """The lines at its top that Hydra reads: `# @key value`, up to the first other one."""
    content: dict[Any, Any]

    @property
    def sets(self) -> dict[str, Any]:
        """What it sets, by dotted key, as far as it stands in this file."""
        options = {str(key): value for key, value in self.content.items() if key != "defaults"}
        return flat(options if self.group in WITHOUT_OPTIONS else {self.group: options})

    @property
    def _is_in_a_folder(self) -> bool:
        """Whether it lies in a folder of its group's, to which Hydra may take what it names as relative."""
        return self.file.parent.name != self.group

    @property
    def takes(self) -> Iterator[tuple[str, str]]:
        """The choices, with their groups, that it takes in its turn."""
        defaults = self.content.get("defaults")
        for each in defaults if isinstance(defaults, list) else ():
            if isinstance(each, str) and not self._is_in_a_folder:
                yield self.group, each
            elif isinstance(each, dict):
                yield from ((_group(key)[0], str(choice)) for key, choice in each.items())

    def refuse_malformed(self, among: Sequence[Path]) -> None:
        """Refuse what Hydra would read as something else than was meant, or answer without the file's name.

        Args:
            among: the folders of choices.

        Raises:
            UserError: naming the file.
        """
        for fault in (*self._faults(among), *self._faults_of_defaults(among)):
            raise UserError(f"{self.file}: {fault}")

    def _faults(self, among: Sequence[Path]) -> Iterator[str]:
        is_global = re.search(r"^\s*#\s*@package\s+_global_\s*$", self.header, re.MULTILINE)
        if self.group in WITHOUT_OPTIONS and not is_global:
            yield "has to begin with the line '# @package _global_'"
        if self.group not in WITHOUT_OPTIONS and is_global:
            yield "leave out '# @package _global_', the first line of experiments alone"
        for key, value in self.content.items():
            if str(key).partition(".")[0] in Config.model_fields and "." in str(key):
                yield f"{key}: has to be nested, as in '{_nested(str(key))}'"
            unknown = isinstance(value, dict | None) or re.search(r"[$?]", str(value))
            if self.group in WITHOUT_OPTIONS and key in groups() and not unknown:
                is_choice = isinstance(value, str) and choice_file(str(key), value, among)
                yield f"{key}: {self._how_to_take(str(key), value) if is_choice else NO_OPTIONS}"

    def _faults_of_defaults(self, among: Sequence[Path]) -> Iterator[str]:
        defaults = self.content.get("defaults", [])
        if not isinstance(defaults, list):
            yield "defaults: should be a list; begin each line below it with '- '"
            return
        files = [each for each in defaults if each != "_self_"]
        overriding = [isinstance(each, dict) and any("override" in str(key) for key in each) for each in files]
        if overriding != sorted(overriding):
            yield "defaults: write the lines with override behind the others"
        for each in files:
            if not isinstance(each, dict | str):
                yield f"defaults: {each}: is no line of 'choice' or 'override /group: choice'"
            elif isinstance(each, str) and re.search(r":\S", each):
                yield f"defaults: {each}: put a space behind the colon"
            for key, choice in each.items() if isinstance(each, dict) else [(None, each)]:
                yield from (f"defaults: {fault}" for fault in self._faults_of_choice(key, choice, among))

    def _faults_of_choice(self, key: Any, choice: Any, among: Sequence[Path]) -> Iterator[str]:
        """What is wrong with a choice that the defaults list takes; its key is None where the group is this one's."""
        group, words = (self.group, []) if key is None else _group(key)
        if choice is None or re.search(r"[/@$]", f"{group}{choice}"):  # Hydra's own, packages, interpolations
            return
        overrides, absolute = "override" in words, words[-1:] == [f"/{group}"]
        relative = self._is_in_a_folder or any((place / self.group / group).is_dir() for place in among)
        if relative and not overrides and not absolute:
            return
        if group == "debug" != self.group:
            yield f"{key}: {self._how_to_take(group, choice)}"
        elif group not in groups():
            yield f"{group}: there is no such group{did_you_mean(group, groups())}"
        elif key is not None and not (overrides and absolute):
            yield f"{key}: {self._how_to_take(group, choice)}"
        elif not isinstance(choice, str):
            yield f"{group}: {ONE_CHOICE}"
        elif choice_file(group, choice.removesuffix(".yaml"), among) is None:
            yield no_choice(group, choice, among)

    def _how_to_take(self, group: str, choice: Any) -> str:
        """What to do instead, where this choice takes another."""
        if group == self.group:
            return f"write '- {choice}' below defaults"
        if self.group not in WITHOUT_OPTIONS:
            return f"a choice of {self.group} takes no {group}; let an experiment take both"
        if group == "debug":
            return f"is not taken by another choice; type {group}={choice}"
        return f"write '- override /{group}: {choice}' below defaults"


def _group(key: Any) -> tuple[str, list[str]]:
    """The group that a key of a defaults list names, such as `override /optimizer`, and the key's words."""
    words = str(key).split() or [""]
    return words[-1].removeprefix("/"), words


def _nested(key: str) -> str:
    """A dotted key as YAML: `a: {b: ...}`."""
    outer, dot, inner = key.partition(".")
    return f"{outer}: {{{_nested(inner)}}}" if dot else f"{outer}: ..."


def own_choices(typed: Sequence[Override], among: Sequence[Path]) -> list[OwnChoice]:
    """The choices of a user's own that are taken: typed, or by one that is.

    What is no YAML is left to Hydra, which says where.

    Raises:
        UserError: for a file that cannot be read, or holds something else than options.
    """
    said = {each.key_or_group: str(each.value()) for each in typed if each.key_or_group in groups()}
    said |= {each.key_or_group: "" for each in typed if each.is_delete()}
    waiting = [(group, choice) for group, choice in said.items() if group in groups()]
    found: dict[Path, OwnChoice] = {}
    while waiting:
        group, choice = waiting.pop()
        file = choice_file(group, choice.removesuffix(".yaml"), among)
        if file is None or file in found or file.is_relative_to(CONF):
            continue
        try:
            text = file.read_text()
            content = yaml.safe_load(text)
        except yaml.YAMLError:
            continue
        except (ValueError, OSError) as error:
            raise UserError(f"{file}: cannot be read: {first_line(error)}") from error
        if not isinstance(content, dict | None):
            raise UserError(f"{file}: {NO_OPTIONS}")
        header = takewhile(lambda line: re.match(r"\s*(#\s*@|$)", line), text.splitlines())
        found[file] = OwnChoice(group, file, "\n".join(header), content or {})
        waiting += [(taken, name) for taken, name in found[file].takes if taken == group or taken not in said]
    return list(found.values())
