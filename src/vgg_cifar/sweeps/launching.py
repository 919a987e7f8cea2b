"""From the overrides of many jobs to a sweep that has run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from omegaconf import DictConfig, open_dict
from rich.console import Console

from vgg_cifar.composition import checked, parse
from vgg_cifar.config import Config
from vgg_cifar.errors import INTERRUPTED, RunError, UserError
from vgg_cifar.runs import placement
from vgg_cifar.sweeps import slurm
from vgg_cifar.sweeps.options import LauncherOptions, SlurmOptions
from vgg_cifar.sweeps.pool import Pool
from vgg_cifar.sweeps.running import run_jobs
from vgg_cifar.sweeps.slots import Slots
from vgg_cifar.sweeps.source import Listed
from vgg_cifar.sweeps.sweep import Sweep, Wanted
from vgg_cifar.sweeps.versions import versions


class Compose(Protocol):
    """How the launcher has a job composed."""

    def __call__(self, overrides: list[str], number: int = 0) -> DictConfig:
        """A job by its overrides and number, with Hydra's own part."""


def refuse_what_cannot_run(path: Path, configs: Iterable[Config], options: LauncherOptions) -> None:
    """Find out before anything is made whether these jobs can run here, in this folder.

    Raises:
        UserError: if not.
    """
    if placement.rank() or "TORCHELASTIC_RUN_ID" in os.environ:
        raise UserError("-m: a sweep starts the ranks of its jobs itself; call it without torchrun or srun")
    room = pool(options).room
    datasets = set()
    for config in configs:
        if config.resume is not None:
            raise UserError("resume: a sweep goes on by itself where it was; type the same command again without it")
        room.refuse_what_never_fits(config)
        datasets.add(config.data.name)
    sweep = Sweep(path)
    sweep.refuse_what_is_no_sweep()
    if not options.mix_versions:
        sweep.refuse_other_versions(versions(datasets))


def launch(job_overrides: list[list[str]], options: LauncherOptions, master: DictConfig, compose: Compose) -> int:
    """Run a sweep.

    Args:
        job_overrides: of each job.
        options: how to run them.
        master: what Hydra composed for the sweep as a whole.
        compose: see `Compose`.

    Returns:
        The exit code: 0 if all jobs are finished, 1 if one failed, 75 if interrupted.

    Raises:
        UserError: for any mistake.
    """
    settings = master.hydra
    paths = [each for each in settings.overrides.hydra if each.startswith("hydra.searchpath")]
    wanted = []
    for overrides in job_overrides:
        composed = compose(overrides)
        with open_dict(composed):
            del composed["hydra"]
        _, config = checked(composed, overrides)
        own = [each for each, parsed in zip(overrides, parse(overrides), strict=True) if parsed.key_or_group != "sweep"]
        wanted.append(Wanted([*own, *paths], config))
    made_of = versions(config.data.name for _, config in wanted)
    sweep = Sweep(Path(str(settings.sweep.dir)))
    if not options.mix_versions:
        sweep.refuse_other_versions(made_of)
    typed = [*settings.overrides.task, *settings.overrides.hydra]
    command = ["python", "src/train.py", "-m", *(each for each in typed if each != "hydra.mode=MULTIRUN")]
    jobs = sweep.jobs(
        wanted, made_of, command, lambda number, overrides: str(compose(overrides, number).hydra.sweep.subdir)
    )
    title = f"sweep {sweep.path.name}"
    code = run_jobs(title, Listed(jobs), pool(options), Console(), stop_at_failure=options.stop_at_failure)
    if code != INTERRUPTED:
        _compare(sweep)
    return code


def pool(options: LauncherOptions) -> Pool:
    """What runs the jobs, as the launcher's options say.

    Raises:
        UserError: if that is not here.
    """
    if isinstance(options, SlurmOptions):
        return slurm.pool(options)
    return Pool(Slots.of_this_machine(options.jobs))


def _compare(sweep: Sweep) -> None:
    """Leave the page that compares the runs; where it cannot be made, they are none the worse."""
    from vgg_cifar.reporting.report import report

    try:
        report([sweep.path])
    except (UserError, RunError) as error:
        print(f"no report: {error}")
