"""From what was typed to a checked configuration, and from how a command ended to its exit code."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

from vgg_cifar.composition import compose_and_check, parse
from vgg_cifar.config import Config
from vgg_cifar.errors import INTERRUPTED, USER_MISTAKE, Interrupted, UserError
from vgg_cifar.options import did_you_mean
from vgg_cifar.runs import placement
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.usage import help_text


def guard(command: Callable[[], Any]) -> None:
    """Run a command and exit: a user's mistake is one line and exit code 2, an interruption is 75."""
    try:
        code = command()
    except UserError as error:
        code = complain(error)
    except (Interrupted, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    sys.exit(code)


def complain(error: UserError) -> int:
    """Tell a mistake in one line, after the traceback if HYDRA_FULL_ERROR=1 asks for it; the exit code to end with."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        traceback.print_exception(error)
    print(f"error: {error}", file=sys.stderr)
    return USER_MISTAKE


def key_values(arguments: list[str], defaults: dict[str, str | None]) -> dict[str, str | None]:
    """Read `key=value` arguments of a command that needs no Hydra.

    Args:
        arguments: what was typed.
        defaults: every key the command knows, with what it is if not given.

    Raises:
        UserError: for an argument of another form or an unknown key.
    """
    values = dict(defaults)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in defaults:
            known = ", ".join(f"{each}=..." for each in defaults)
            raise UserError(f"{argument}: expected {known}{did_you_mean(key, defaults)}")
        values[key] = None if value == "null" else value
    return values


def prepare(argv: list[str]) -> list[str] | None:
    """Check everything that Hydra is about to run, so that a mistake leaves one line and no folder.

    Args:
        argv: what was typed after the program's name.

    Returns:
        The arguments to hand to Hydra: those typed, or for `resume=` those of the run that goes on, then those typed.
        None if all that was asked for has been shown.

    Raises:
        UserError: for any mistake.
    """
    asked = _parsed(argv)
    overrides: list[str] = asked.overrides
    if asked.config_dir:
        overrides = [*overrides, f"hydra.searchpath=[{_quoted('file://' + str(Path(asked.config_dir).absolute()))}]"]
    if asked.help:
        print(help_text(overrides), end="")
        return None
    if asked.hydra_help or asked.shell_completion:
        return argv
    if asked.multirun:
        for job in _jobs(overrides):
            _fits_a_sweep(compose_and_check(job).config)
        return ["--multirun", *overrides]
    raw, config, run_dir, tree = compose_and_check(overrides)
    if asked.cfg:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(tree, resolve=asked.resolve), end="")
        return None
    if config.resume is not None:
        folder = _run_to_resume(config.resume, run_dir, raw)
        if folder is not None:
            overrides = _continued(folder, overrides)
            changed = placement.differences(folder.read_config(), compose_and_check(overrides).raw)
            if changed:
                raise UserError(
                    f"resume: {folder.path} was trained with other options ({'; '.join(changed[:3])}); "
                    "leave them as they were, or start a new run without resume="
                )
    elif placement.rank() == 0 and RunFolder(run_dir).config.exists():
        raise UserError(f"hydra.run.dir: {run_dir} holds a run already; resume={run_dir} goes on with it")
    return overrides


def _parsed(argv: list[str]) -> Namespace:
    """What was typed, by Hydra's own parser, without the flags that would load files past every check."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; --help shows what there is")

    parser.error = refuse  # type: ignore[method-assign]
    asked = parser.parse_intermixed_args(argv)
    for flag in ("config_path", "config_name", "experimental_rerun", "info", "package"):
        if getattr(asked, flag):
            name = f"--{flag.replace('_', '-')}"
            raise UserError(f"{name}: is not taken here; an own folder of choices goes with --config-dir")
    if asked.cfg not in (None, "job"):
        raise UserError("--cfg: only job is shown, this project's own part of the configuration")
    if asked.run and asked.multirun:
        raise UserError("--run and --multirun exclude each other")
    return asked


def _jobs(overrides: list[str]) -> Iterator[list[str]]:
    """The override lists of a sweep, one per job, as Hydra's basic sweeper makes them."""
    choices = []
    for override in parse(overrides):
        key = override.get_key_element()
        values = list(override.sweep_string_iterator()) if override.is_sweep_override() else None
        choices.append([f"{key}={value}" for value in values] if values else [str(override.input_line)])
    return (list(job) for job in product(*choices))


def _fits_a_sweep(config: Config) -> None:
    if config.trainer.devices != 1 or config.trainer.num_nodes != 1:
        raise UserError(
            f"trainer.devices: {config.trainer.devices} processes inside a sweep would each replay the whole sweep; "
            "run such jobs one by one, without -m"
        )
    if config.resume is not None:
        raise UserError("resume: a sweep starts every job afresh; go on with single runs, without -m")


def _run_to_resume(resume: str, run_dir: Path, raw: dict[str, Any]) -> RunFolder | None:
    """The folder that `resume` names or finds; None if there is nothing to go on with."""
    if resume != "auto":
        return RunFolder.existing(resume, "resume")
    here = RunFolder(run_dir)
    if here.config.is_file() and here.checkpoint("last").is_file():
        return here
    return placement.resumable(run_dir.parent, raw)


def _continued(folder: RunFolder, overrides: list[str]) -> list[str]:
    """The overrides a run began with, replaced and extended by those typed now, and set to run in its folder.

    What the run allowed is not allowed again: a folder gives no such right. What it found for `auto` stays.
    """
    config, manifest = folder.read_config(), folder.read_manifest()
    began = [str(override) for override in manifest.get("overrides", [])]
    began = [override for override in began if _key(override) != "allow"]
    tuned = {key: f"{key}={value}" for key, value in manifest.get("tuned", {}).items()}
    typed = [override for override in overrides if override not in {f"{key}=auto" for key in tuned}]
    if config["data"].get("root"):
        began.append(f"data.root={_quoted(config['data']['root'])}")
    ours = [f"resume={_quoted(str(folder.path))}", f"hydra.run.dir={_quoted(str(folder.path))}"]
    merged: dict[str, str] = {}
    for override in (*began, *tuned.values(), *typed, *ours):
        merged[_key(override)] = override
    return list(merged.values())


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _quoted(text: str) -> str:
    """A value in Hydra's override grammar that stands for exactly this text."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def register_resolvers() -> None:
    """Make `${outputs:}` and `${run_id:}` known to configurations."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("outputs", lambda: str(placement.OUTPUTS), replace=True)
    OmegaConf.register_new_resolver("run_id", placement.run_id, use_cache=True, replace=True)


def quiet() -> None:
    """Keep the libraries' notes on their own working from a user's screen; call it before they are imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for module in (r"lightning\.", r"torch\.", r"torchmetrics\."):
        warnings.filterwarnings("ignore", module=module, category=UserWarning)
        warnings.filterwarnings("ignore", module=module, category=FutureWarning)
