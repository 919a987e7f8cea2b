"""From what was typed to a checked configuration, and from how a command ended to its exit code."""

from __future__ import annotations

import errno
import math
import os
import re
import signal
import sys
import traceback
import warnings
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from vgg_cifar.choices import refuse_lost
from vgg_cifar.composition import (
    Composed,
    compose_and_check,
    compose_only,
    refuse_changes_of_hydra,
    with_later_options,
)
from vgg_cifar.errors import (
    DONE,
    ENDING,
    FAILED,
    INTERRUPTED,
    NOTHING_BEGUN,
    USER_MISTAKE,
    Interrupted,
    RunError,
    UserError,
    first_line,
    printable,
    redacted,
)
from vgg_cifar.options import did_you_mean, quoted
from vgg_cifar.overrides import parse, with_typed
from vgg_cifar.runs import placement
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.sweeps.options import launcher_options
from vgg_cifar.sweeps.search.options import is_search
from vgg_cifar.usage import help_text

MOST_JOBS = 10_000
MANY_JOBS = 50
"""Of more it is to be seen that they are checked, which takes about a fifth of a second each."""
LONGEST_LINE = 1000


def guard(command: Callable[[], int | None], usage: str | None = None) -> None:
    """Run a command and exit.

    Args:
        command: see `exit_code`.
        usage: what `--help` prints, for a command that does not do so itself.
    """
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)  # everything is imported: see `interruptible`
    if usage is not None and {"--help", "-h"} & set(sys.argv[1:]):
        print(usage.strip())
        sys.exit(0)
    sys.exit(exit_code(command))


def exit_code(command: Callable[[], int | None]) -> int:
    """Run a command: a user's mistake is one line and exit code 2, an interruption is 75.

    Args:
        command: returns the exit code, or None for 0.
    """
    try:
        return command() or DONE
    except UserError as error:
        return complain(error)
    except RunError as error:
        return complain(error, FAILED)
    except RecursionError:
        return complain(UserError("an option or a file is nested too deeply, or holds itself"))
    except OSError as error:  # a name that is too long, a folder that may not be read or written, a full disk
        return complain(UserError(f"{error.filename}: {error.strerror}" if error.filename else first_line(error)))
    except (Interrupted, KeyboardInterrupt):
        print(NOTHING_BEGUN, file=sys.stderr)
        return INTERRUPTED


def complain(error: UserError | RunError, code: int = USER_MISTAKE) -> int:
    """Tell what is wrong in one line, after the traceback if HYDRA_FULL_ERROR=1 asks for it; the exit code given."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        print(redacted("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    line = printable(redacted(str(error)))
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    print(f"error: {line}", file=sys.stderr)
    return code


def key_values(arguments: list[str], defaults: dict[str, str | None]) -> dict[str, str | None]:
    """Read `key=value` arguments of a command that needs no Hydra.

    Args:
        arguments: what was typed.
        defaults: every key the command knows, with what it is if not given.

    Raises:
        UserError: for an argument of another form, an unknown key, or one that is there twice.
    """
    values, typed = dict(defaults), set[str]()
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in defaults:
            known = ", ".join(f"{each}=..." for each in defaults)
            raise UserError(f"{argument}: expected {known}{did_you_mean(key, defaults)}")
        if key in typed:  # a shell makes two of run={a,b}
            raise UserError(
                f"{key}: was given more than once; name one, or several with commas between where they may be"
            )
        typed.add(key)
        values[key] = None if value == "null" else value
    return values


def listed(typed: str | None) -> list[str]:
    """The words of a list that was typed with commas, in brackets or without."""
    return [each.strip() for each in (typed or "").strip("[]").split(",") if each.strip()]


def folders(typed: str | None) -> list[str]:
    """The folders of a list like that, or one that is there and has a comma in its name."""
    with suppress(OSError):  # a list may be longer than any name
        if typed and RunFolder(typed).path.is_dir():
            return [typed]
    return listed(typed)


def prepare(argv: list[str]) -> list[str] | None:
    """Check everything that Hydra is about to run, so that a mistake leaves one line and no folder.

    Args:
        argv: what was typed after the program's name.

    Returns:
        The arguments to hand to Hydra: the overrides typed, or for `resume=` those of the run that goes on, then those
        typed; `--multirun` before them in a sweep, `--config-dir` among them as `hydra.searchpath`.
        None if all that was asked for has been shown.

    Raises:
        UserError: for any mistake.
    """
    asked = _parsed(argv)
    overrides = _with_config_dir(asked.overrides, asked.config_dir)
    if asked.help:
        print("\n".join(map(printable, help_text(overrides).splitlines())))
        return None
    if asked.shell_completion:
        return argv
    if asked.multirun:
        return ["--multirun", *_checked_sweep(overrides)]
    composed = _composed(overrides)
    if asked.cfg:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(composed.tree, resolve=asked.resolve), end="")
        return None
    refuse_changes_of_hydra(composed)
    if composed.config.sweep is not None:
        raise UserError("sweep: names the folder of several runs; add -m, or leave it off")
    if is_search(composed.hydra["sweeper"]):
        raise UserError("hydra/sweeper: chooses among several runs; add -m, or leave it off")
    trainer = composed.config.trainer
    placement.refuse_other_ranks(trainer.devices, trainer.num_nodes)
    resume, run_dir = composed.config.resume, composed.run_dir
    folder = (
        _run_to_resume(resume, run_dir, composed.raw)
        if resume is not None
        else placement.begun_by_this_launch(run_dir)  # whose ranks are started again
    )
    if folder is not None:
        folder.refuse_lost_checkpoints()
        overrides = _continued(folder, overrides)
        composed = compose_and_check(overrides)
        refuse_changes_of_hydra(composed)
        changed = placement.differences(with_later_options(folder.read_config()), composed.raw)
        if changed:
            new = "start a new run without resume=" if resume is not None else "launch it under another id (--rdzv-id)"
            raise UserError(
                f"resume: {folder.path} was trained with other options ({'; '.join(changed[:3])}); "
                f"leave them as they were, or {new}"
            )
    else:
        refuse_unwritable(run_dir, "hydra.run.dir")
        if resume is None and placement.rank() == 0 and RunFolder(run_dir).config.exists():
            raise UserError(f"hydra.run.dir: {run_dir} holds a run already; resume={run_dir} goes on with it")
        if resume is None and RunFolder(run_dir).holds_runs():
            raise UserError(f"hydra.run.dir: {run_dir} is a folder of runs; name a new one, such as {run_dir / 'mine'}")
        composed.config.refuse_missing_files()
    return overrides


def _parsed(argv: list[str]) -> Namespace:
    """What was typed, by Hydra's own parser, without the flags that would load files past every check."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; --help shows what there is")

    parser.error = refuse  # type: ignore[method-assign]
    asked = parser.parse_intermixed_args(argv)
    for flag in ("config_path", "config_name", "experimental_rerun", "info", "package", "hydra_help"):
        if getattr(asked, flag):
            name = f"--{flag.replace('_', '-')}"
            raise UserError(f"{name}: is not taken here; an own folder of choices goes with --config-dir")
    if asked.cfg not in (None, "job"):
        raise UserError("--cfg: only job is shown, this project's own part of the configuration")
    if asked.resolve and not asked.cfg:
        raise UserError("--resolve: goes with --cfg job")
    if asked.multirun and (asked.run or asked.cfg):
        raise UserError("--multirun: -m goes neither with --run nor with --cfg")
    if asked.shell_completion and not re.match(r"(install|uninstall|query)=\w+$", " ".join(asked.overrides)):
        raise UserError("--shell-completion: goes with install=bash, zsh or fish")
    return asked


def _with_config_dir(overrides: list[str], config_dir: str | None) -> list[str]:
    """The overrides with `--config-dir` as Hydra's search path, which Hydra's own flag would replace."""
    if config_dir is None:
        return overrides
    path = Path(os.path.expanduser(config_dir)).absolute()  # noqa: PTH111  # of whatever user
    if not config_dir or not path.is_dir():
        raise UserError(f"--config-dir: there is no folder {config_dir}")
    if any(override.startswith("hydra.searchpath") for override in overrides):
        raise UserError("--config-dir: give all folders in hydra.searchpath=[...], or one here")
    return [*overrides, f"hydra.searchpath=[{quoted(f'file://{path}')}]"]


def refuse_unwritable(folder: Path, option: str) -> None:
    """Refuse a folder that cannot be made or written to."""
    try:
        folder = folder.expanduser().absolute()
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    except (OSError, RuntimeError) as error:  # a name that is too long; a user that is not there
        raise UserError(f"{option}: {folder} cannot be made: {first_line(error)}") from error
    try:
        with TemporaryDirectory(dir=there):  # root may write everywhere, and yet cannot in /proc
            pass
    except OSError as error:
        may_not = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT)
        why = f"{there} is no folder that may be written to" if may_not else first_line(error)
        raise UserError(f"{option}: {folder} cannot be made: {why}") from error


def _checked_sweep(overrides: list[str]) -> list[str]:
    """The overrides of a sweep whose every job was checked, with a name where it has none.

    Raises:
        UserError: for any mistake in any job.
    """
    from vgg_cifar.sweeps.launching import refuse_what_cannot_run
    from vgg_cifar.sweeps.search.launching import refuse_what_cannot_be_searched
    from vgg_cifar.sweeps.search.options import search_options
    from vgg_cifar.sweeps.search.space import Space
    from vgg_cifar.sweeps.sweep import default_name

    parsed = parse(overrides)
    for each in parsed:
        if each.is_sweep_override() and re.match(r"hydra/|hydra\.(launcher|sweeper)\b", each.key_or_group):
            raise UserError(f"{each.key_or_group}: is the same for all jobs of a sweep; give one value")
    if not any(each.key_or_group == "sweep" for each in parsed):
        swept = [each.key_or_group for each in parsed if each.is_sweep_override()]
        fixed = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
        own = [each for each in fixed if not re.match(r"hydra\b", each)]
        overrides = [*overrides, f"sweep={default_name('sweep', swept, own)}"]
    of_hydra = [each for each in overrides if re.match(r"\+*hydra\b", each)]
    space = None
    if is_search(compose_only(of_hydra)[1]["sweeper"]):
        space = Space([each for each in overrides if each not in of_hydra])
    jobs: list[Composed] = []
    wanted = _jobs(overrides) if space is None else [[*corner, *of_hydra] for corner in space.corners()]
    for job in wanted:
        if len(wanted) > MANY_JOBS and len(jobs) % max(MANY_JOBS, len(wanted) // 10) == 0:
            print(f"Checking the options of {len(wanted):,} jobs, {len(jobs):,} done ...", file=sys.stderr)
        composed = compose_and_check(job)
        refuse_changes_of_hydra(composed)
        jobs.append(composed)
    path = jobs[0].sweep_dir
    if any(job.sweep_dir != path for job in jobs):
        raise UserError("sweep: all jobs lie in one folder; give one name")
    refuse_unwritable(path, "hydra.sweep.dir")
    launcher = launcher_options(jobs[0].hydra["launcher"])
    if space is not None:
        refuse_what_cannot_be_searched(
            space, search_options(jobs[0].hydra["sweeper"]), [job.config for job in jobs], launcher
        )
    refuse_what_cannot_run(path, [job.config for job in jobs], launcher, searches=space is not None)
    return overrides


def _jobs(overrides: list[str]) -> list[list[str]]:
    """The override lists of a sweep, one per job; those that differ from the first in one value come next."""
    from hydra.errors import HydraException

    choices = []
    for override in parse(overrides):
        key, values = override.get_key_element(), [str(override.input_line)]
        if override.is_sweep_override():
            try:
                values = [f"{key}={value}" for value in islice(override.sweep_string_iterator(), MOST_JOBS + 1)]
            except (HydraException, ValueError) as error:
                raise UserError(
                    f"{override.input_line}: cannot be swept; write the values out: {key}=...,..., or search "
                    "among them with hydra/sweeper=optuna"
                ) from error
        choices.append(values)
    jobs = math.prod(len(values) for values in choices)
    if not 0 < jobs <= MOST_JOBS:
        raise UserError(f"--multirun: these values make {'no' if not jobs else 'over ' + str(MOST_JOBS)} jobs")
    numbered = product(*(enumerate(values) for values in choices))
    # A value that is wrong by itself is met before all its combinations are.
    nearest_first = sorted(numbered, key=lambda job: sum(place > 0 for place, _ in job))
    return [[value for _, value in job] for job in nearest_first]


def _composed(overrides: list[str]) -> Composed:
    """What was typed, beside the options of the run that it names, if it goes on with one."""
    named = [each.value() for each in parse(overrides) if each.key_or_group == "resume"][-1:]
    if named and isinstance(named[0], str) and named[0] != "auto" and RunFolder(named[0]).config.is_file():
        overrides = _continued(RunFolder.existing(named[0], "resume"), overrides)
    return compose_and_check(overrides)


def _run_to_resume(resume: str, run_dir: Path, raw: dict[str, Any]) -> RunFolder | None:
    """The folder that `resume` names or finds; None if there is nothing to go on with."""
    if resume != "auto":
        return RunFolder.existing(resume, "resume")
    here = RunFolder(run_dir)
    if here.config.is_file() and here.has_checkpoint():
        return here
    return placement.resumable(run_dir.parent, raw, with_later_options)


def _continued(folder: RunFolder, overrides: list[str]) -> list[str]:
    """The overrides a run was last given, replaced and extended by those typed now, and set to run in its folder.

    What the run found for `auto` stays. What it allowed, and what it told Hydra, is not taken from a folder.

    Raises:
        UserError: if the folder does not say how the run was started.
    """
    manifest, config = folder.read_manifest(), folder.read_config()
    try:
        given = manifest["resumed"][-1]["command"][2:] if manifest.get("resumed") else manifest["overrides"]
    except (LookupError, TypeError):
        given = None
    tuned = manifest.get("tuned", {})
    if not isinstance(given, list) or not isinstance(tuned, dict) or not isinstance(config.get("data"), dict):
        raise UserError(f"resume: {folder.path} is damaged: it does not say how its run was started")
    ours = [f"resume={quoted(str(folder.path))}", f"hydra.run.dir={quoted(str(folder.path))}"]
    merged = with_typed(given, tuned, config, [*overrides, *ours])
    refuse_lost(folder.path, merged, overrides, "--config-dir FOLDER")
    return merged


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
