"""From the overrides of many jobs to a sweep that has run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from vgg_cifar.config import Config
from vgg_cifar.errors import INTERRUPTED, RunError, UserError
from vgg_cifar.runs import placement
from vgg_cifar.sweeps import slurm
from vgg_cifar.sweeps.options import LauncherOptions, SlurmOptions
from vgg_cifar.sweeps.plan import Compose, Plan
from vgg_cifar.sweeps.pool import Pool
from vgg_cifar.sweeps.running import run_jobs
from vgg_cifar.sweeps.slots import Slots
from vgg_cifar.sweeps.source import Listed
from vgg_cifar.sweeps.sweep import Sweep
from vgg_cifar.sweeps.versions import versions


def refuse_what_cannot_run(
    path: Path, configs: Sequence[Config], options: LauncherOptions, *, searches: bool = False
) -> None:
    """Find out before anything is made whether these jobs can run here, in this folder.

    Raises:
        UserError: if not.
    """
    if placement.rank() or "TORCHELASTIC_RUN_ID" in os.environ:
        raise UserError("-m: a sweep starts the ranks of its jobs itself; call it without torchrun or srun")
    sweep = Sweep(path)
    is_new = not sweep.file.exists()
    for config in configs:
        if config.resume is not None:
            raise UserError("resume: a sweep goes on by itself where it was; type the same command again without it")
        if is_new and not isinstance(options, SlurmOptions):
            config.refuse_missing_files()
    room = pool(options).room  # torch, which counts the GPUs
    for config in configs:
        room.refuse_what_never_fits(config)
    sweep.refuse_what_is_no_sweep()
    sweep.refuse_another_kind(searches=searches)
    if not options.mix_versions:
        sweep.refuse_other_versions(versions({config.data.name for config in configs}))


def launch(job_overrides: list[list[str]], options: LauncherOptions, master: DictConfig, compose: Compose) -> int:
    """Run a sweep.

    Args:
        job_overrides: of each job.
        options: how to run them.
        master: what Hydra composed for the sweep as a whole.
        compose: how a job is composed.

    Returns:
        The exit code: 0 if all jobs are finished, 1 if one failed, 75 if interrupted.

    Raises:
        UserError: for any mistake.
    """
    plan = Plan(master, compose, options)
    jobs = plan.jobs([plan.wanted(overrides) for overrides in job_overrides])
    title = f"sweep {plan.sweep.path.name}"
    code = run_jobs(title, Listed(jobs), pool(options), Console(), stop_at_failure=options.stop_at_failure)
    if code != INTERRUPTED:
        compare(plan.sweep)
    return code


def pool(options: LauncherOptions) -> Pool:
    """What runs the jobs, as the launcher's options say.

    Raises:
        UserError: if that is not here.
    """
    if isinstance(options, SlurmOptions):
        return slurm.pool(options)
    return Pool(Slots.of_this_machine(options.jobs))


def compare(sweep: Sweep) -> None:
    """Leave the page that compares the runs; where it cannot be made, they are none the worse."""
    from vgg_cifar.reporting.report import report

    try:
        report([sweep.path])
    except (UserError, RunError) as error:
        print(f"no report: {error}")
