"""From a space and a number of trials to a search that has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from vgg_cifar.config import Config, is_beside_the_point
from vgg_cifar.errors import DONE, FAILED, INTERRUPTED, UserError, printable
from vgg_cifar.options import flat
from vgg_cifar.sweeps.launching import compare, pool
from vgg_cifar.sweeps.options import LauncherOptions, SlurmOptions, launcher_options
from vgg_cifar.sweeps.plan import Compose, Plan
from vgg_cifar.sweeps.running import run_jobs
from vgg_cifar.sweeps.search import choices
from vgg_cifar.sweeps.search.options import SearchOptions, search_options
from vgg_cifar.sweeps.search.record import Recorded
from vgg_cifar.sweeps.search.space import Space
from vgg_cifar.sweeps.search.storage import address_of
from vgg_cifar.sweeps.search.study import Study
from vgg_cifar.sweeps.versions import versions


def refuse_what_cannot_be_searched(
    space: Space, options: SearchOptions, configs: list[Config], launcher: LauncherOptions
) -> None:
    """Find out before anything is made whether such a search can be.

    Args:
        space: what is searched.
        options: of the search.
        configs: of its corners.
        launcher: how its runs are run.

    Raises:
        UserError: if not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UserError(choices.MISSING) from error
    choices.try_out(options, space)
    address_of(options, Path())
    if isinstance(launcher, SlurmOptions) and launcher.jobs is None:
        raise UserError("hydra.launcher.jobs: a search learns from what has ended; say how many may run at a time")
    held_out = [name for name in options.objectives if name.startswith("val/")]
    if held_out and any(config.data.val_fraction == 0 for config in configs):
        raise UserError(f"hydra.sweeper.objectives: {held_out[0]} needs held-out images; set data.val_fraction=0.1")


def search(arguments: list[str], settings: dict[str, Any], master: DictConfig, compose: Compose) -> int:
    """Search until the study has as many trials as were asked for.

    Args:
        arguments: the overrides that were typed, those with several values among them.
        settings: Hydra's.
        master: what Hydra composed for the sweep as a whole.
        compose: how a job is composed.

    Returns:
        The exit code: 0 if there are enough trials and one of them is complete, 1 if none is, 75 if interrupted.

    Raises:
        UserError: for any mistake.
        RunError: if the study's database was away too long; what ran has saved its step.
    """
    options, launcher = search_options(settings["sweeper"]), launcher_options(settings["launcher"])
    space, plan, console = Space(arguments), Plan(master, compose, launcher), Console()
    like = plan.wanted(next(space.corners())).config
    made_of: dict[str, Any] = {"basis": _basis(like, space)}
    if not launcher.mix_versions:
        made_of["code"] = versions([like.data.name])["code"]
    if options.storage is None:
        plan.sweep.path.mkdir(parents=True, exist_ok=True)
    study = Study(plan.sweep.path.name, plan.sweep.path, options, space, made_of)
    plan.sweep.path.mkdir(parents=True, exist_ok=True)
    runs = pool(launcher)
    searching = Recorded(
        study, plan, like, runs.is_elsewhere, lambda text: console.print(printable(text), soft_wrap=True, markup=False)
    )
    title, at_failure = f"search {plan.sweep.path.name}", launcher.stop_at_failure
    code = run_jobs(title, searching, runs, console, stop_at_failure=at_failure)
    if searching.broken is not None:
        raise searching.broken
    searching.write()
    if code == INTERRUPTED:
        return code
    compare(plan.sweep)
    some = any(trial.state.name == "COMPLETE" for trial in study.trials())
    return DONE if some and (code == DONE or not launcher.stop_at_failure) else FAILED


def _basis(like: Config, space: Space) -> dict[str, Any]:
    """What all trials share, by dotted key."""

    def varies(option: str) -> Iterator[bool]:
        yield from (option == key or option.startswith(f"{key}.") for key in space.dimensions)

    options = flat(like.model_dump())
    return {key: value for key, value in options.items() if not is_beside_the_point(key) and not any(varies(key))}
