"""From overrides to the jobs of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from vgg_cifar.composition import checked
from vgg_cifar.overrides import parse
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.options import LauncherOptions
from vgg_cifar.sweeps.sweep import Sweep, Wanted
from vgg_cifar.sweeps.versions import versions


class Compose(Protocol):
    """How a plugin of Hydra's has a job composed."""

    def __call__(self, overrides: list[str], number: int = 0) -> DictConfig:
        """A job by its overrides and number, with Hydra's own part."""


class Plan:
    """What a sweep should hold, put down in its folder.

    Args:
        master: what Hydra composed for the sweep as a whole.
        compose: see `Compose`.
        options: of the launcher.
    """

    def __init__(self, master: DictConfig, compose: Compose, options: LauncherOptions) -> None:
        self.sweep = Sweep(Path(str(master.hydra.sweep.dir)))
        self._compose = compose
        self._mixes = options.mix_versions
        of_hydra = _as_typed(master.hydra.overrides.hydra)
        self._paths = [each for each in of_hydra if each.startswith("hydra.searchpath")]
        typed = [*_as_typed(master.hydra.overrides.task), *of_hydra]
        self._command = ["python", "src/train.py", "-m", *(each for each in typed if each != "hydra.mode=MULTIRUN")]

    def wanted(self, overrides: list[str]) -> Wanted:
        """The run that overrides make.

        Raises:
            UserError: for any mistake.
        """
        composed = self._compose(overrides)
        with open_dict(composed):
            del composed["hydra"]
        _, config = checked(composed, overrides)
        own = [each for each, parsed in zip(overrides, parse(overrides), strict=True) if parsed.key_or_group != "sweep"]
        return Wanted([*own, *self._paths], config)

    def known(self, wanted: Wanted) -> Job | None:
        """The job that a run is already, if it is one.

        Raises:
            UserError: if the sweep's folder is not what it should be.
        """
        return self.sweep.known(wanted)

    def jobs(self, wanted: list[Wanted]) -> list[Job]:
        """The jobs that runs are: known ones, or new ones with the next numbers.

        Raises:
            UserError: if the sweep's folder is not what it should be, or other versions began it.
        """
        made_of = versions(config.data.name for _, config in wanted)
        if not self._mixes:
            self.sweep.refuse_other_versions(made_of)
        return self.sweep.jobs(wanted, made_of, self._command, self._subfolder)

    def begun(self) -> list[tuple[Path, list[str]]]:
        """The folders of jobs that were begun, with their overrides, in the order of their numbers.

        Raises:
            UserError: if `sweep.json` is damaged.
        """
        return self.sweep.begun()

    def _subfolder(self, number: int, overrides: list[str]) -> str:
        return str(self._compose(overrides, number).hydra.sweep.subdir)


def _as_typed(overrides: ListConfig) -> list[str]:
    words = OmegaConf.to_container(overrides, resolve=False)  # ${hydra.job.num} is not known yet
    assert isinstance(words, list)
    return [str(word) for word in words]
