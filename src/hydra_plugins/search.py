"""Hydra's sweeper that chooses the next run by those before it; the work is in `vgg_cifar.sweeps.search`."""

from __future__ import annotations

import sys
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class OptunaSweeper(Sweeper):
    """Searches with Optuna.

    Args:
        options: those of `vgg_cifar.sweeps.search.options.SearchOptions`.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what Hydra composed; the task is typed anew for every run."""
        self.context = hydra_context
        self.composed = config

    def sweep(self, arguments: list[str]) -> None:
        """Search until there are enough trials.

        Raises:
            SystemExit: with the search's exit code, unless it is 0: Hydra passes on no other.
        """
        from hydra_plugins.isolated import composer
        from vgg_cifar.command_line import exit_code
        from vgg_cifar.sweeps.search.launching import search

        said = OmegaConf.to_container(self.composed.hydra)
        assert isinstance(said, dict)
        settings = {str(key): value for key, value in said.items()}
        compose = composer(self.context, self.composed)
        code = exit_code(lambda: search(list(arguments), settings, self.composed, compose))
        if code:
            sys.exit(code)
