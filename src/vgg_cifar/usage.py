"""What `--help` says: the groups, their choices, and the meaning of every option."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable, Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from textwrap import wrap
from typing import Any

from vgg_cifar.choices import CONF, WITHOUT_OPTIONS, choice_file, default_choices, group_choices, groups, places
from vgg_cifar.composition import compose_only
from vgg_cifar.config import Config
from vgg_cifar.errors import UserError
from vgg_cifar.options import Options, chosen, did_you_mean, flat, is_within, literal, spelled
from vgg_cifar.overrides import parse
from vgg_cifar.sweeps.options import LauncherOptions, SlurmOptions
from vgg_cifar.sweeps.search.options import SearchOptions

WIDTH = 110
FLAGS = (
    "--help optimizer=adam  the options of that choice with their meanings; --help optimizer: of the default",
    "--help experiment=record  what that experiment sets",
    "--cfg job              the configuration as it would run",
    "-m                     every combination of values given with commas: -m optimizer=sgd,adam seed=0,1",
    "  hydra/sweeper=optuna  the next run follows from those before; --help hydra/sweeper=optuna: its options",
    "  hydra/launcher=slurm  jobs of a cluster; --help hydra/launcher=slurm, or isolated: its options",
    "--config-dir FOLDER    choices of your own: FOLDER/optimizer/mine.yaml is optimizer=mine",
    "hydra.run.dir=FOLDER   where to run",
)
OF_HYDRA: dict[str, type[Options]] = {
    "hydra/launcher=isolated": LauncherOptions,
    "hydra/launcher=slurm": SlurmOptions,
    "hydra/sweeper=optuna": SearchOptions,
}
"""What a sweep can be told, beside what its runs are."""


def help_text(words: list[str]) -> str:
    """The groups with a line each and the options outside of them; or all options that the words name.

    Args:
        words: overrides as for a run, or just names of groups or options.

    Raises:
        UserError: if a word cannot be read, or names nothing.
    """
    from omegaconf import OmegaConf

    lines = [line for word in words if word in OF_HYDRA for line in _options_of_hydra(*word.split("="))]
    settings = [word for word in words if "=" in word or word.startswith("~")]
    tree, _, _ = compose_only(settings)
    raw = OmegaConf.to_container(tree, resolve=False)
    assert isinstance(raw, dict)
    among = places(parse(settings))
    sets = [(group, choice) for group in WITHOUT_OPTIONS for choice in group_choices(group, among)]
    asked = [word for word in words if not word.startswith("hydra.searchpath=")]
    if asked and set(asked) <= {f"{group}={choice}" for group, choice in sets}:
        lines = [
            line for group, choice in sets if f"{group}={choice}" in asked for line in _set_by(group, choice, among)
        ]
    if lines:
        return "\n".join(lines) + "\n"
    value = flat({str(key): each for key, each in raw.items()})
    meaning = dict(_meanings(Config, raw))
    named = [word for word in words if word not in settings]
    chosen_by = (override.key_or_group for override in parse(settings))
    named += [key.partition(".")[0] for key in chosen_by if not is_within(key.replace("/", "."), ["hydra"])]
    keys = [key for key in meaning if is_within(key, named)]
    known = {*groups(), *meaning, *(key.partition(".")[0] for key in meaning)}
    unknown = [name for name in named if name not in known]
    if unknown:
        raise UserError(f"--help: there is no {unknown[0]}{did_you_mean(unknown[0], [*groups(), *meaning])}")
    described = [name for name in named if name in groups() and not any(key.startswith(f"{name}.") for key in meaning)]
    if keys or described:
        lines = [
            line
            for group in described
            for choice in group_choices(group, among)
            for line in _entry(choice, _comment(_file(group, choice, among)))
        ]
        lines += [line for key in keys for line in _entry(key, f"{meaning[key]} [{spelled(value.get(key))}]")]
        return "\n".join(lines) + "\n"
    lines = ["python src/train.py [group=choice ...] [key=value ...]", "", "groups (* is the default)"]
    for group in groups():
        default = default_choices()[group]
        choices = ", ".join(f"{choice}{'*' if choice == default else ''}" for choice in group_choices(group, among))
        lines += _entry(group, f"{about(group)}: {choices}")
    lines += ["", "options outside of groups [default]"]
    for key, text in meaning.items():
        if key.partition(".")[0] not in groups():
            lines += _entry(key, f"{text} [{spelled(value.get(key))}]")
    lines += _entry("allow", "Packages beside torch, torchvision and timm whose classes `_target_` may name. [[]]")
    return "\n".join([*lines, "", *FLAGS]) + "\n"


def _set_by(group: str, choice: str, among: Iterable[Path]) -> Iterator[str]:
    """An experiment, or the like: what it is, and what it sets."""
    file = _file(group, choice, among)
    yield from _entry(f"{group}={choice}", _comment(file))
    content = _content(file)
    for default in content.pop("defaults", None) or []:
        taken = default if isinstance(default, dict) else {group: default}
        yield from (f"  {key.removeprefix('override /')}={value}" for key, value in taken.items() if value != "_self_")
    yield from (f"  {key}={literal(value)}" for key, value in flat(content).items())


def _options_of_hydra(group: str, choice: str) -> Iterator[str]:
    """A choice of Hydra's launcher or sweeper: what it is, and its options."""
    file = _file(group, choice)
    yield from _entry(f"{group}={choice}", _comment(file))
    content = _content(file)
    for name, text in _meanings(OF_HYDRA[f"{group}={choice}"], content):
        yield from _entry(f"{group.replace('/', '.')}.{name}", f"{text} [{spelled(content[name])}]")


def about(group: str) -> str:
    """A group in a few words: the first sentence of its module's docstring."""
    if group in WITHOUT_OPTIONS:
        return WITHOUT_OPTIONS[group]
    options = chosen(Config.model_fields[group].annotation)[0]
    module = importlib.import_module(options.__module__)
    return " ".join((module.__doc__ or "").partition("\n\n")[0].split()).partition(": ")[2].rstrip(".")


def _file(group: str, choice: str, among: Iterable[Path] = (CONF,)) -> Path:
    file = choice_file(group, choice, among)
    assert file is not None  # it was listed
    return file


def _content(file: Path) -> dict[str, Any]:
    """What a choice's file holds, numbers read as Hydra reads them."""
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(content, dict)  # it was composed
    return {str(key): value for key, value in content.items()}


def _comment(file: Path) -> str:
    """What a choice's file says of itself at its top."""
    lines = file.read_text(errors="replace").splitlines()
    return " ".join(line[2:] for line in takewhile(lambda line: line.startswith("# "), lines) if "@package" not in line)


def _meanings(annotation: Any, raw: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names with what they mean: the string that follows a field in the source of its class."""
    for options in chosen(annotation, raw):
        said = _strings_after_fields(options)
        for name, field in options.model_fields.items():
            key = f"{prefix}{field.alias or name}"
            if name in said:
                yield key, said[name]
            yield from _meanings(field.annotation, raw.get(name) if isinstance(raw, dict) else None, f"{key}.")


def _strings_after_fields(options: type[Options]) -> dict[str, str]:
    found: dict[str, str] = {}
    for owner in reversed([each for each in options.__mro__ if issubclass(each, Options)]):
        (body,) = (node.body for node in ast.parse(inspect.getsource(owner)).body if isinstance(node, ast.ClassDef))
        for field, text in pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                    found[name] = " ".join(said.split())
    return found


def _entry(name: str, text: str) -> list[str]:
    if len(name) > 25:
        return [f"  {name}", *(_entry("", text) if text else [])]
    first, *rest = wrap(text, WIDTH - 28, break_long_words=False) or [""]
    return [f"  {name:<25} {first}".rstrip(), *(f"{'':28}{line}" for line in rest)]
