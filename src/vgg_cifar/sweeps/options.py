"""How the jobs of a sweep are run: `hydra.launcher.*`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from vgg_cifar.errors import UserError
from vgg_cifar.options import Count, Options, in_one_line


class LauncherOptions(Options):
    """What `conf/hydra/launcher/isolated.yaml` holds, but for the launcher's class."""

    jobs: Count | None
    """Jobs at a time; null: one per GPU, or one on a CPU. On a CPU they share its threads, more jobs than GPUs share
    those."""
    stop_at_failure: bool
    """Whether the first job that fails stops the others; they can go on later."""
    mix_versions: bool
    """Whether a sweep that other code, packages or data began may go on."""


Name = Annotated[str, Field(pattern=r"^[\w.,:;&|()\[\]{}*+@=/!-]+$")]
"""What can stand in a batch script after `--option=`."""
Further = Annotated[str, Field(pattern=r"^--[a-z][a-z-]*(=[\w.,:;&|()\[\]{}*+@=/!-]+)?$")]
"""An option of sbatch, as it is typed there."""
OURS = (
    "array", "chdir", "error", "export", "input", "job-name", "nodes", "no-requeue", "ntasks", "ntasks-per-node",
    "open-mode", "output", "parsable", "requeue", "signal", "test-only", "wait", "wrap",
)  # fmt: skip
"""Options of sbatch that a sweep gives itself, or cannot do with."""


class SlurmOptions(LauncherOptions):
    """What `conf/hydra/launcher/slurm.yaml` holds, but for the launcher's class."""

    jobs: Count | None
    """Jobs in SLURM's queue at a time, running ones included; null: all."""
    partition: Name | None
    """Null: the cluster's default; so below."""
    account: Name | None
    """Who pays."""
    qos: Name | None
    """Quality of service."""
    constraint: Name | None
    """Features that the machines must have."""
    time: Count | None
    """Minutes that a job may run until it has to save its step and queue again."""
    cpus_per_task: Count | None
    """Cores, and threads, of each rank."""
    mem_gb: Count | None
    """GB of memory on each machine."""
    signal_seconds: Annotated[int, Field(ge=1, le=65535)]
    """Seconds before the time limit at which a job is told to save its step."""
    requeues: Annotated[int, Field(ge=0)]
    """How often a job that could not finish may queue again by itself."""
    extra: list[Further]
    """Further options of sbatch, as typed there: ["--exclusive", "--gpu-bind=closest"]."""

    @model_validator(mode="after")
    def _fits_together(self) -> SlurmOptions:
        if self.time is not None and 60 * self.time <= self.signal_seconds:
            raise ValueError(
                f"signal_seconds: a job of {60 * self.time} seconds (time={self.time}) would have to save its step "
                "before it began; give it more time, or set fewer seconds"
            )
        for each in self.extra:
            if (name := each[2:].partition("=")[0]) in OURS:
                raise ValueError(f"extra: --{name} is the sweep's own; leave it off")
        return self


CLASSES: dict[str, type[LauncherOptions]] = {
    "hydra_plugins.isolated.IsolatedLauncher": LauncherOptions,
    "hydra_plugins.slurm.SlurmLauncher": SlurmOptions,
}
"""The options of each launcher."""


def launcher_options(settings: dict[str, Any]) -> LauncherOptions:
    """Check the launcher's part of Hydra's settings.

    Args:
        settings: that part, with the launcher's class under `_target_`.

    Raises:
        UserError: naming the option that is wrong.
    """
    options = CLASSES[settings["_target_"]]
    given = {name: settings[name] for name in options.model_fields if name in settings}
    try:
        return options.model_validate(given)
    except ValidationError as error:
        raise UserError(f"hydra.launcher.{in_one_line(error, given, options)}") from error
