"""From what was typed to a checked configuration, and from how a command ended to its exit code."""

from __future__ import annotations

import difflib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from vgg_cifar.config import Config, check
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import INTERRUPTED, USER_MISTAKE, Interrupted, UserError
from vgg_cifar.runs import placement
from vgg_cifar.runs.folder import RunFolder

CONF = PROJECT / "conf"


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
    """Tell a mistake in one line; the exit code to end with."""
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
            raise UserError(f"{argument}: expected {', '.join(f'{known}=...' for known in defaults)}")
        values[key] = None if value == "null" else value
    return values


def prepare(argv: list[str]) -> list[str]:
    """Check everything that Hydra is about to run, so that a mistake leaves one line and no folder.

    Args:
        argv: what was typed after the program's name.

    Returns:
        The arguments to hand to Hydra: those typed, or for `resume=` those of the run that goes on, then those typed.

    Raises:
        UserError: for any mistake.
    """
    from hydra._internal.utils import get_args_parser

    parsed = get_args_parser().parse_args(argv)
    if any((parsed.help, parsed.hydra_help, parsed.shell_completion)):
        return argv
    if parsed.run and parsed.multirun:
        raise UserError("--run and --multirun exclude each other")
    overrides: list[str] = parsed.overrides
    flags = [argument for argument in argv if argument not in overrides]
    if parsed.multirun:
        for job in _jobs(overrides):
            _fits_a_sweep(compose_and_check(job)[1])
        return argv
    raw, config, run_dir = compose_and_check(overrides)
    if parsed.cfg or parsed.info:
        return argv
    if config.resume is not None:
        folder = _run_to_resume(config.resume, run_dir, raw)
        if folder is not None:
            overrides = _continued(folder, overrides)
            changed = placement.differences(folder.read_config(), compose_and_check(overrides)[0])
            if changed:
                raise UserError(
                    f"resume: {folder.path} was trained with other options ({'; '.join(changed[:3])}); "
                    "leave them as they were, or start a new run without resume="
                )
            return [*flags, *overrides]
    elif placement.rank() == 0 and RunFolder(run_dir).config.exists():
        raise UserError(f"hydra.run.dir: {run_dir} holds a run already; resume={run_dir} goes on with it")
    return argv


def compose_and_check(overrides: list[str]) -> tuple[dict[str, Any], Config, Path]:
    """Compose what `python src/train.py` with these overrides would run.

    Returns:
        The configuration as plain dicts, the same checked, and the folder Hydra would run it in.

    Raises:
        UserError: for any mistake.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose("train", overrides, return_hydra_config=True)
        run_dir = Path(str(composed.hydra.run.dir)).expanduser().absolute()
        with open_dict(composed):
            del composed["hydra"]
        raw = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_plainly(str(error))) from error
    assert isinstance(raw, dict)
    plain = {str(key): value for key, value in raw.items()}
    return plain, check(plain), run_dir


def _plainly(message: str) -> str:
    """Hydra's several lines as one, with the nearest right name in place of its advice to add a wrong one."""
    option = re.search(r"Could not override '([^']+)'", message)
    if option:
        from hydra import compose, initialize_config_dir
        from omegaconf import OmegaConf

        with initialize_config_dir(str(CONF), version_base="1.3"):
            known = placement.flat(OmegaConf.to_container(compose("train")))  # type: ignore[arg-type]
        return f"{option[1]}: there is no such option{_nearest(option[1], list(known))}"
    choice = re.search(r"Could not find '(\w+)/([^']+)'", message)
    if choice:
        choices = sorted(file.stem for file in (CONF / choice[1]).glob("*.yaml"))
        return f"{choice[1]}: there is no choice {choice[2]}, only {', '.join(choices)}"
    return " ".join(line.strip() for line in message.splitlines() if line.strip())


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _jobs(overrides: list[str]) -> Iterator[list[str]]:
    """The override lists of a sweep, one per job, as Hydra's basic sweeper makes them."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except OverrideParseException as error:
        raise UserError(" ".join(str(error).split())) from error
    choices = []
    for override in parsed:
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
    """The overrides a run began with, replaced and extended by those typed now, and set to run in its folder."""
    config = folder.read_config()
    began = [str(override) for override in folder.read_manifest().get("overrides", [])]
    if config["data"].get("root"):
        began.append(f"data.root={_quoted(config['data']['root'])}")
    ours = [f"resume={_quoted(str(folder.path))}", f"hydra.run.dir={_quoted(str(folder.path))}"]
    merged: dict[str, str] = {}
    for override in (*began, *overrides, *ours):
        merged[override.partition("=")[0].lstrip("+~")] = override
    return list(merged.values())


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
