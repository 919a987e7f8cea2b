"""From overrides to a checked configuration: what Hydra would run, or one line that says why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import yaml

from vgg_cifar.choices import (
    CONF,
    ONE_CHOICE,
    choice_file,
    default_choices,
    group_choices,
    groups,
    no_choice,
    own_choices,
    places,
)
from vgg_cifar.config import Config, check
from vgg_cifar.errors import UserError
from vgg_cifar.limits import bounded
from vgg_cifar.options import did_you_mean, flat, is_within, keys, literal, nearest, no_such_option, spelled
from vgg_cifar.overrides import option_of, parse

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

HYDRA_OPTIONS = ("run.dir", "sweep.dir", "sweep.subdir", "searchpath")
"""What a command line may say under `hydra.`, beside the choices of these groups and the options in their files;
everything else there could run code or write where it should not."""
HYDRA_GROUPS = ("launcher", "sweeper")
OF_LAUNCHED_RANKS = {"job.name": r"[\w.-]+", "output_subdir": "null"}
"""What Lightning adds when it starts the other ranks of a run."""
PER_COMMAND = ("runtime.", "overrides.", "job.override_dirname")
"""What Hydra itself notes of each command."""
CONFIGURATION = "the configuration"
OF_WORKERS = ("num_workers", "pin_memory", "persistent_workers", "prefetch_factor")
"""Options that other programs have."""


class Composed(NamedTuple):
    """A configuration, as composed and as checked."""

    raw: dict[str, Any]
    """Plain dicts and lists, every interpolation resolved."""
    config: Config
    run_dir: Path
    """The folder in which Hydra would run it."""
    sweep_dir: Path
    """The folder of the sweep that it would be a job of."""
    tree: DictConfig
    """As Hydra shows it: interpolations as they were written."""
    hydra: dict[str, Any]
    """Hydra's own settings, interpolations as they were written."""


def compose_and_check(overrides: list[str]) -> Composed:
    """Compose what `python src/train.py` with these overrides would run.

    Raises:
        UserError: for any mistake.
    """
    tree, hydra, folders = compose_only(overrides)
    raw, config = checked(tree, overrides)
    return Composed(raw, config, *folders, tree, hydra)


def compose_only(overrides: list[str]) -> tuple[DictConfig, dict[str, Any], tuple[Path, Path]]:
    """The tree, Hydra's settings and the two folders, as in `Composed`; nothing is checked but the overrides' form.

    Raises:
        UserError: if they cannot be composed.
    """
    from omegaconf import OmegaConf, open_dict

    typed = parse(overrides)
    _refuse_hydra_options(typed)
    for each in typed:
        group, choice = each.key_or_group, each.value()
        if group in groups() and isinstance(choice, list):
            raise UserError(f"{group}: {ONE_CHOICE}")
        if group in groups() and isinstance(choice, str) and choice_file(group, choice, places(typed)) is None:
            raise UserError(no_choice(group, choice, places(typed)))
    try:
        with bounded(CONFIGURATION):
            for own in own_choices(typed, among := places(typed)):
                own.refuse_malformed(among)
            composed = _composed(overrides)
            run, sweep = composed.hydra.run.dir, composed.hydra.sweep.dir
            for name, folder in (("run", run), ("sweep", sweep)):
                if not str(folder).strip():
                    raise UserError(f"hydra.{name}.dir: is empty; name a folder, or leave it off")
            folders = Path(str(run)).expanduser().absolute(), Path(str(sweep)).expanduser().absolute()
            settings = OmegaConf.to_container(composed.hydra, resolve=False)
        with open_dict(composed):
            del composed["hydra"]
    except UserError:
        raise
    except Exception as error:  # whatever a file or an override made Hydra, OmegaConf or YAML stumble over
        raise UserError(_plainly(error, typed)) from error
    assert isinstance(settings, dict)
    return composed, {str(key): value for key, value in settings.items()}, folders


def _composed(overrides: list[str]) -> DictConfig:
    """What Hydra makes of overrides, its own settings included."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides, return_hydra_config=True)


def refuse_changes_of_hydra(composed: Composed) -> None:
    """Hydra's settings can name any class, folder or mode: what differs from the shipped ones has to have been typed.

    Raises:
        UserError: if a file changed one.
    """
    said = parse(composed.hydra["overrides"]["hydra"])
    typed = {override.key_or_group.removeprefix("hydra.") for override in said}
    shipped = _shipped_hydra(tuple(str(each.input_line) for each in said if each.key_or_group.startswith("hydra/")))
    found = flat(composed.hydra)
    for key in sorted(found.keys() | shipped.keys()):
        may_differ = key.startswith(PER_COMMAND) or is_within(key, typed)
        if not may_differ and found.get(key) != shipped.get(key):
            raise UserError(f"hydra.{key}: is changed in a file; Hydra's own settings stay as they are shipped")


def checked(composed: DictConfig, overrides: list[str]) -> tuple[dict[str, Any], Config]:
    """Resolve and check a composed configuration.

    Args:
        composed: without Hydra's own part.
        overrides: what was typed; only there may `allow` be given.

    Raises:
        UserError: for any mistake.
    """
    from omegaconf import OmegaConf

    try:
        with bounded(CONFIGURATION):
            content = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_plainly(error, ())) from error
    assert isinstance(content, dict)
    raw = {str(key): value for key, value in content.items()}
    typed = parse(overrides)
    _refuse_what_no_file_can_hold(raw)
    allowed = _allowed(raw.pop("allow", []), typed)
    try:
        return raw, check(raw, allowed)
    except UserError as error:
        with bounded(CONFIGURATION):
            message = _with_file(str(error), raw, typed)
        raise UserError(message) from error


def _with_file(message: str, raw: dict[str, Any], typed: list[Override]) -> str:
    """The refusal of an option, with the file that sets it, or what helps where that is a shipped experiment."""
    key, known = message.partition(":")[0], flat(raw)
    own = own_choices(typed, places(typed))
    of_groups = {each.key_or_group for each in typed if not isinstance(each.value(), dict)} & {*groups()}
    options = {each.key_or_group for each in typed} - of_groups
    if is_within(key, options):
        return message
    setting = [
        each
        for each in own
        for name, value in each.sets.items()
        if (is_within(key, [name]) or is_within(name, [key])) and known.get(name) == value
    ]
    if key not in known:  # missing from a choice that should have it
        setting += [each for each in own if is_within(key, [each.group])]
    if setting:
        return f"{setting[0].file}: {message}"
    experiments = [str(each.value()) for each in typed if each.key_or_group == "experiment"][-1:]
    experiments += [choice for each in own for group, choice in each.takes if group == "experiment"]
    group, allowed = key.partition(".")[0], set(keys(Config, raw))
    set_again = {*options, *(name for each in own for name in each.sets)}
    for name in experiments:
        if file := choice_file("experiment", name):
            content = flat(yaml.safe_load(file.read_text()) or {})
            its_own = [each for each in content if each.startswith(f"{group}.") and each not in set_again]
            if key in its_own and key not in allowed:
                away = " ".join(f"'~{each}'" for each in its_own if each not in allowed)
                left = ", ".join(f"{each}={spelled(content[each])}" for each in its_own if each in allowed)
                stays = f"; that leaves {left}, set for another choice" if left else ""
                return f"{message}; experiment={name} sets it: with {group}={raw[group]['name']} add {away}{stays}"
    return message


def _refuse_what_no_file_can_hold(raw: dict[str, Any]) -> None:
    """A NUL or half a surrogate pair, which YAML can spell, can neither name a file nor be written down."""
    for key, value in flat(raw).items():
        for text in (key, *_texts(value)):
            if re.search("[\\0\ud800-\udfff]", text):
                raise UserError(f"{key}: holds a character that no file can hold, is {value!r}")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value:
            yield from _texts(each)
        if isinstance(value, dict):
            yield from _texts(list(value.values()))


def _allowed(packages: Any, typed: list[Override]) -> list[str]:
    """The packages a user allows, if it was the user who said so."""
    if not packages:
        return []
    said = [each for each in typed if each.key_or_group == "allow" and not each.is_delete() and each.package is None]
    if not said or "$" in str(said[-1].input_line):
        raise UserError(f"allow: {packages} stands in a file; only the command line may allow packages: allow=[...]")
    if not isinstance(packages, list) or not all(isinstance(each, str) and each.isidentifier() for each in packages):
        raise UserError(f"allow: should be a list of packages, like allow=[mypackage], is {packages!r}")
    return packages


def _refuse_hydra_options(typed: list[Override]) -> None:
    chosen = {
        each.key_or_group.removeprefix("hydra/"): str(each.input_line).partition("=")[2]
        for each in typed
        if each.key_or_group in {f"hydra/{group}" for group in HYDRA_GROUPS} and not each.is_delete()
    }
    for group, choice in chosen.items():
        if choice not in group_choices(f"hydra/{group}"):
            raise UserError(no_choice(f"hydra/{group}", choice))
    allowed = [*HYDRA_OPTIONS, *_options_of_choices(chosen)]
    for override in typed:
        key = override.key_or_group
        if (key != "hydra" and not re.match(r"hydra[./]", key)) or key.removeprefix("hydra/") in chosen:
            continue
        name, value = key.removeprefix("hydra."), str(override.input_line).partition("=")[2]
        if name in OF_LAUNCHED_RANKS and re.fullmatch(OF_LAUNCHED_RANKS[name], value):
            continue
        if name not in allowed or override.is_delete():
            for other in (f"{group}={choice}" for group in HYDRA_GROUPS for choice in group_choices(f"hydra/{group}")):
                if name in _options_of_choices(dict([other.split("=")])):
                    raise UserError(f"{key}: is an option of hydra/{other}; add that")
            near = did_you_mean(key, [f"hydra.{option}" for option in allowed])
            names = [*HYDRA_OPTIONS, *(f"{group}.*" for group in HYDRA_GROUPS if group_choices(f"hydra/{group}"))]
            raise UserError(f"{key}: only hydra.{', hydra.'.join(names)} may be given{near}")
        if name == "searchpath":
            places(typed)


def _options_of_choices(chosen: dict[str, str]) -> Iterator[str]:
    """The options in the files of Hydra's launcher and sweeper, the class itself left out."""
    for group in HYDRA_GROUPS:
        choice = chosen.get(group, default_choices().get(f"override hydra/{group}"))
        if choice in group_choices(f"hydra/{group}"):
            content = yaml.safe_load((CONF / "hydra" / group / f"{choice}.yaml").read_text())
            yield from (f"{group}.{option}" for option in flat(content) if not option.endswith("_target_"))


def _plainly(error: Exception, typed: Iterable[Override]) -> str:
    """What Hydra, OmegaConf or YAML say over several lines, as one, with the nearest right name."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}: line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    if isinstance(error, RecursionError):
        return "an option is nested too deeply, or refers to itself: look for ${...} that leads back to its own key"
    message = str(error)
    answers: dict[str, Callable[..., str]] = {
        r"Sweep parameters '(.+)' requires --multirun": "{0}: several values go to a sweep; add -m".format,
        r"Could not override '([^']+)'": lambda key: _unknown(key, typed),
        r"Could not find '((?:hydra/)?\w+)/(.*)'": lambda group, given: no_choice(group, given, places(typed)),
        r"Ambiguous value for argument '([^']+)'": _several,
        r"An item is already at '([^']+)'": "{0}: exists already; leave off the +".format,
        r"Missing mandatory value: \S+\s+full_key: (\S+)": "{0}: has no value yet; give {0}=...".format,
        r"Error merging override \+*([^=]+)=(.*)": "{0}: cannot be {1}, which is of another kind".format,
        r"Could not delete from config. '([^']+)' does not exist": lambda key: _unknown(key, typed),
        r"Config group override must be a string or a list\. Got (\w+)": lambda kind: _no_word(kind, typed),
        r"Multiple values for (\S+)\. To": lambda group: _chosen_twice(group, typed),
    }
    for pattern, answer in answers.items():
        found = re.search(pattern, message)
        if found:
            return answer(*found.groups())
    key = re.search(r"full_key: (\S+)", message)
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [type(error).__name__]
    kept = [line for line in lines if not re.match(r"(full_key|object_type|reference_type|See https?):", line)]
    return f"{key[1]}: {kept[0]}" if key else " ".join(kept)


def _several(said: str) -> str:
    wanted = "give several values to a sweep (-m), a list in []"
    return f"{said}: {ONE_CHOICE if option_of(said) in groups() else wanted}"


def _chosen_twice(group: str, typed: Iterable[Override]) -> str:
    if any(each.key_or_group == group and each.is_add() for each in typed):
        return f"{group}: exists already; leave off the +"
    return f"{group}: is chosen by two files; write 'override /{group}: ...' in one"


def _no_word(kind: str, typed: Iterable[Override]) -> str:
    """What to do where a number or null stands for a choice: it may be meant for its only option, or for `none`."""
    for each in typed:
        group, value = each.key_or_group, each.value()
        may_be_null = group in groups() and default_choices()[group] is None
        if group not in groups() or isinstance(value, str | list) or (value is None and may_be_null):
            continue
        choices = group_choices(group, places(typed))
        raw = _of_choices(other for other in typed if other is not each)
        own = [key for key in keys(Config, raw) if key.startswith(f"{group}.") and not key.endswith(".name")]
        meant = f"{own[0]}={spelled(value)}" if len(own) == 1 else ""
        if value is None:
            meant = f"{group}=none" if "none" in choices else ""
        near = f"; did you mean {meant}?" if meant else ""
        return f"{group}: should be one of {', '.join(choices)}, is {spelled(value)}{near}"
    return f"a group's choice is a word, not {kind}"


def _unknown(key: str, typed: Iterable[Override]) -> str:
    """Why an option cannot be set: it is not there, in the choices that were taken."""
    if key in groups():
        return f"{key}: expected one of {', '.join(group_choices(key, places(typed)))}"
    raw = _of_choices(typed)
    if key.rpartition(".")[2] in OF_WORKERS:
        return f"{key}: there is no such option: images lie on the device, and no workers load them"
    if not set(keys(Config)) & {key, key.rpartition(".")[0]}:
        known = [*keys(Config, raw), *groups(), "allow"]
        return f"{key}: there is no such option{did_you_mean(key, known)}"
    group = key.partition(".")[0]
    near = nearest(key, [each for each in keys(Config, raw) if each.startswith(f"{group}.")])
    added = not any(each.is_delete() and each.key_or_group == key for each in typed) and near is None
    if added and isinstance(raw.get(group), dict) and raw[group].get("name") == "custom":
        return f"{key}: an argument of a class of your own takes a +: +{key}=..."
    return no_such_option(key, Config, raw)


def _of_choices(typed: Iterable[Override]) -> dict[str, Any]:
    """What the choices are, of all groups, without the options that were typed."""
    from omegaconf import OmegaConf

    may_choose = (*groups(), "hydra.searchpath")
    try:
        tree = _composed([str(each.input_line) for each in typed if each.key_or_group in may_choose])
        return cast("dict[str, Any]", OmegaConf.to_container(tree, resolve=False))
    except Exception:  # one of them cannot be taken, which is not what was asked
        return {group: {"name": str(choice)} for group, choice in default_choices().items()}


@cache
def _defaults() -> Composed:
    return compose_and_check([])


@cache
def _shipped_hydra(choices: tuple[str, ...]) -> dict[str, Any]:
    """Hydra's settings, by dotted key, as they are shipped with these choices of its groups."""
    return flat(compose_and_check(list(choices)).hydra)


def default_options() -> dict[str, Any]:
    """Every option by its dotted key, as it is if nothing is said. While Hydra runs a job it cannot be asked first."""
    return flat(_defaults().raw)


def differences_from_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    """The options of a configuration that are not as they are by default, with their defaults (None where new)."""
    defaults = default_options()
    return {key: defaults.get(key) for key, value in flat(raw).items() if key not in defaults or defaults[key] != value}


def stored_config(raw: dict[str, Any], allow: Sequence[str] = ()) -> Config:
    """Check the configuration in a run's folder; its logger, which says nothing about the run, is the default one.

    Raises:
        UserError: for any mistake.
    """
    return check(with_later_options(raw) | {"logger": _defaults().raw["logger"]}, allow)


def with_later_options(raw: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration with the options and groups that came after it.

    A group's are as the choice that was taken, or else the default, has them now; others as they are by default.
    """
    filled = dict(_defaults().raw)
    for key, value in raw.items():
        now = filled.get(key)
        if isinstance(value, dict) and key in groups():
            now = _shipped(key, value)
        filled[key] = now | value if isinstance(now, dict) and isinstance(value, dict) else value
    return filled


def in_full(raw: dict[str, Any]) -> list[str]:
    """The overrides that make a stored configuration out of the shipped files, without the help of an experiment."""
    overrides = []
    for key, value in raw.items():
        shipped = flat({key: _shipped(key, value) if key in groups() else _defaults().raw.get(key)})
        if key in groups() and "name" in value:
            overrides.append(f"{key}={value['name']}")
        overrides += [
            f"++{name}={literal(option)}"
            for name, option in flat({key: value}).items()
            if name not in shipped or shipped[name] != option
        ]
    return overrides


def _shipped(group: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a group as the file of the choice in question has them; empty where there is no such file."""
    choice = str(options.get("name", default_choices().get(group)))
    if choice not in (group_choices(group) if group in groups() else ()):
        return {}
    content = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text())
    return {key: value for key, value in content.items() if value != "???"}
