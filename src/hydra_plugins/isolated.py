"""Hydra's launcher that runs every job as a process of its own; the work is in `vgg_cifar.sweeps`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from vgg_cifar.sweeps.plan import Compose


def composer(context: HydraContext, master: DictConfig) -> Compose:
    """How the jobs of a sweep are composed.

    Args:
        context: Hydra's.
        master: what it composed for the sweep as a whole.
    """

    def compose(overrides: list[str], number: int = 0) -> DictConfig:
        composed = context.config_loader.load_sweep_config(master, overrides)
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = number
        HydraConfig.instance().set_config(OmegaConf.masked_copy(composed, "hydra"))  # which ${hydra:job.num} asks
        return composed

    return compose


class IsolatedLauncher(Launcher):
    """Runs the jobs of a sweep; its options are those of `vgg_cifar.sweeps.options.LauncherOptions`."""

    def __init__(self, **_: Any) -> None:
        """The options are read from the configuration, as they are checked before anything starts."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what Hydra composed; the task is typed anew for every job."""
        self.context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs until all have ended.

        Raises:
            SystemExit: with the sweep's exit code, unless every job is finished: Hydra passes on no other.
        """
        from vgg_cifar.command_line import exit_code
        from vgg_cifar.sweeps.launching import launch
        from vgg_cifar.sweeps.options import launcher_options

        settings = OmegaConf.to_container(self.config.hydra.launcher, resolve=True)
        assert isinstance(settings, dict)
        options = launcher_options({str(key): value for key, value in settings.items()})
        jobs = [list(overrides) for overrides in job_overrides]
        code = exit_code(lambda: launch(jobs, options, self.config, composer(self.context, self.config)))
        if code:
            sys.exit(code)
        return [JobReturn(overrides=job, status=JobStatus.COMPLETED, _return_value=code) for job in job_overrides]
