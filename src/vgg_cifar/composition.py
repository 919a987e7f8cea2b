"""From overrides to a checked configuration: what Hydra would run, or one line that says why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from vgg_cifar.config import Config, check
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.options import did_you_mean, flat, keys, no_such_option

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

CONF = PROJECT / "conf"

HYDRA_OPTIONS = ("run.dir", "sweep.dir", "sweep.subdir", "job.name", "output_subdir", "searchpath", "verbose")
"""What a command line may say under `hydra.`; everything else there could run code or write where it should not."""


class Composed(NamedTuple):
    """A configuration, as composed and as checked."""

    raw: dict[str, Any]
    """Plain dicts and lists, every interpolation resolved."""
    config: Config
    run_dir: Path
    """The folder in which Hydra would run it."""
    tree: DictConfig
    """As Hydra shows it: interpolations as they were written."""


def compose_and_check(overrides: list[str]) -> Composed:
    """Compose what `python src/train.py` with these overrides would run.

    Raises:
        UserError: for any mistake.
    """
    from hydra import compose, initialize_config_dir
    from omegaconf import open_dict

    typed = parse(overrides)
    _refuse_hydra_options(typed)
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose("train", overrides, return_hydra_config=True)
        run_dir = Path(str(composed.hydra.run.dir)).expanduser().absolute()
        settings = composed.hydra
        with open_dict(composed):
            del composed["hydra"]
    except Exception as error:  # whatever a file or an override made Hydra, OmegaConf or YAML stumble over
        raise UserError(_plainly(error, typed)) from error
    _refuse_code_in_files(settings)
    raw, config = checked(composed, overrides)
    return Composed(raw, config, run_dir, composed)


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
        content = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except Exception as error:
        raise UserError(_plainly(error, ())) from error
    assert isinstance(content, dict)
    raw = {str(key): value for key, value in content.items()}
    return raw, check(raw, _allowed(raw.pop("allow", []), parse(overrides)))


def parse(overrides: list[str]) -> list[Override]:
    """Read overrides by Hydra's grammar.

    Raises:
        UserError: naming the one that cannot be read.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed = []
    for override in overrides:
        try:
            parsed += parser.parse_overrides([override])
        except HydraException as error:
            if "=" not in override and not override.startswith("~"):
                raise UserError(f"{override}: expected group=choice or key=value") from error
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"{override}: cannot be read ({reason}); put quotes around special signs: \"key='value'\""
            ) from error
    return parsed


def group_choices(group: str) -> list[str]:
    """The names of a group's choices."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def groups() -> list[str]:
    """The names of all groups, Hydra's own left out, in the order of the defaults list."""
    return [name for name in default_choices() if "/" not in name]


def default_choices() -> dict[str, str | None]:
    """What each group is if nothing is said."""
    listed = yaml.safe_load((CONF / "train.yaml").read_text())["defaults"]
    return {name: choice for item in listed if isinstance(item, dict) for name, choice in item.items()}


def _allowed(packages: Any, typed: list[Override]) -> list[str]:
    """The packages a user allows, if it was the user who said so."""
    if not packages:
        return []
    said = [override for override in typed if override.key_or_group == "allow" and not override.is_delete()]
    if not said or "$" in str(said[-1].input_line):
        raise UserError(f"allow: {packages} stands in a file; only the command line may allow packages: allow=[...]")
    if not isinstance(packages, list) or not all(isinstance(each, str) and each.isidentifier() for each in packages):
        raise UserError(f"allow: should be a list of packages, like allow=[mypackage], is {packages!r}")
    return packages


def _refuse_hydra_options(typed: Iterable[Override]) -> None:
    for override in typed:
        key = override.key_or_group
        if key == "hydra" or re.match(r"hydra[./]", key):
            if key.removeprefix("hydra.") not in HYDRA_OPTIONS:
                near = did_you_mean(key, [f"hydra.{option}" for option in HYDRA_OPTIONS])
                raise UserError(f"{key}: only hydra.{', hydra.'.join(HYDRA_OPTIONS)} may be given{near}")
            if key == "hydra.searchpath" and re.search(r"\w+://", str(override.input_line).replace("file://", "")):
                raise UserError("hydra.searchpath: only folders may be given, as file:///folder")


def _refuse_code_in_files(settings: DictConfig) -> None:
    """Hydra's own settings can name any function: none may come from other files than Hydra's and this project's."""
    from omegaconf import OmegaConf

    basic = "hydra._internal.core_plugins.basic_"
    shipped = {
        "callbacks": {},
        "job_logging": yaml.safe_load((CONF / "hydra/job_logging/run.yaml").read_text()),
        "hydra_logging": yaml.safe_load(files("hydra.conf").joinpath("hydra/hydra_logging/default.yaml").read_text()),
        "job.env_set": {},
        "job.env_copy": [],
        "job.chdir": False,
        "launcher": {"_target_": f"{basic}launcher.BasicLauncher"},
        "sweeper": {"_target_": f"{basic}sweeper.BasicSweeper", "max_batch_size": None, "params": None},
    }
    for key, value in shipped.items():
        found = OmegaConf.select(settings, key)
        plain = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
        if plain != value:
            raise UserError(f"hydra.{key}: is changed in a file; Hydra's own settings stay as they are shipped")


def _plainly(error: Exception, typed: Iterable[Override]) -> str:
    """What Hydra, OmegaConf or YAML say over several lines, as one, with the nearest right name."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}: line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    if isinstance(error, RecursionError):
        return "an option refers to itself: look for ${...} that leads back to its own key"
    message = str(error)
    answers: dict[str, Callable[..., str]] = {
        r"Could not override '([^']+)'": lambda key: _unknown(key, typed),
        r"Could not find '([\w/]+)/([^'/]+)'": _no_choice,
        r"An item is already at '([^']+)'": "{0}: exists already; leave off the +".format,
        r"Missing mandatory value: \S+\s+full_key: (\S+)": "{0}: has no value yet; give {0}=...".format,
        r"Error merging override \+*([^=]+)=(.*)": "{0}: cannot be {1}, which is of another kind".format,
        r"Could not delete from config. '([^']+)' does not exist": lambda key: _unknown(key, typed),
        r"Config group override must be a string or a list\. Got (\w+)": "a group's choice is a word, not {0}".format,
    }
    for pattern, answer in answers.items():
        found = re.search(pattern, message)
        if found:
            return answer(*found.groups())
    key = re.search(r"full_key: (\S+)", message)
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [type(error).__name__]
    kept = [line for line in lines if not re.match(r"(full_key|object_type|reference_type|See https?):", line)]
    return f"{key[1]}: {kept[0]}" if key else " ".join(kept)


def _no_choice(group: str, given: str) -> str:
    if group not in default_choices():
        return f"{group}: there is no such group{did_you_mean(group, groups())}"
    found = group_choices(group)
    return f"{group}: there is no choice {given}, only {', '.join(found)}{did_you_mean(given, found)}"


def _unknown(key: str, typed: Iterable[Override]) -> str:
    """Why an option cannot be set: it is not there, in the choices that were taken."""
    if key in groups():
        return f"{key}: expected one of {', '.join(group_choices(key))}"
    taken = default_choices() | {each.key_or_group: each.value() for each in typed if each.key_or_group in groups()}
    raw = {group: {"name": str(choice)} for group, choice in taken.items()}
    if not set(keys(Config)) & {key, key.rpartition(".")[0]}:
        known = [*keys(Config, raw), *groups(), "allow"]
        return f"{key}: there is no such option{did_you_mean(key, known)}"
    return no_such_option(key, Config, raw)


@cache
def default_options() -> dict[str, Any]:
    """Every option by its dotted key, as it is if nothing is said. While Hydra runs a job it cannot be asked first."""
    return flat(compose_and_check([]).raw)


def differences_from_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    """The options of a configuration that are not as they are by default, with their defaults (None where new)."""
    defaults = default_options()
    return {key: defaults.get(key) for key, value in flat(raw).items() if key not in defaults or defaults[key] != value}
