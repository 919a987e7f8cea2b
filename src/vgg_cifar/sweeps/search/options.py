"""What a search is told: `hydra.sweeper.*`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from vgg_cifar.comparison.search import MOST_TRIALS, Direction
from vgg_cifar.errors import UserError
from vgg_cifar.options import Count, Options, in_one_line

DIRECTIONS: dict[str, Direction] = {
    "val/top1": "maximize",
    "val/top5": "maximize",
    "val/loss": "minimize",
    "train/top1": "maximize",
    "train/loss": "minimize",
    "images_per_second": "maximize",
    "train_seconds": "minimize",
    "total_seconds": "minimize",
}
"""What can be searched for, under its name in result.json. The test set is not among it: nothing is chosen by that."""
EVERY_EPOCH = ("val/top1", "val/top5", "val/loss", "train/top1", "train/loss")
"""What a run knows after every epoch, so that one which is behind can be ended early."""

Named = str | dict[str, Any]
"""One of Optuna's classes by its name, or with options beside its `name`."""


class SearchOptions(Options):
    """What `conf/hydra/sweeper/optuna.yaml` holds, but for the sweeper's class."""

    n_trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)]
    """Trials in all: those of earlier commands and of other machines on the same study count."""
    objectives: Annotated[list[str], Field(min_length=1, max_length=5)]
    """What a run comes to, as result.json names it: val/top1, val/top5, val/loss, train/top1, train/loss,
    images_per_second, train_seconds, total_seconds; several are weighed against each other."""
    seeds_per_trial: Count
    """Runs of each trial, with seeds that count up from `seed`; the mean is the trial's value."""
    sampler: Named
    """Any of Optuna's: "tpe", "random", "gp", ...; with options: {name: tpe, n_startup_trials: 5}."""
    pruner: Named | None
    """Ends runs that are behind the others early; any of Optuna's: "median", "hyperband", ...; with options as above;
    null: every run is finished."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None
    """Of the sampler; null: another one each time."""
    storage: str | None
    """Where the study is: null, a file in the sweep's folder; an address of a database, without a password; or
    "environment", the address that OPTUNA_STORAGE holds."""
    heartbeat_seconds: Count
    """How often a sweep says that its trials are alive; those of one that was silent for three times as long are taken
    by another."""

    @field_validator("objectives", mode="before")
    @classmethod
    def _one_needs_no_brackets(cls, objectives: Any) -> Any:
        return [objectives] if isinstance(objectives, str) else objectives

    @field_validator("objectives")
    @classmethod
    def _known(cls, objectives: list[str]) -> list[str]:
        for name in objectives:
            if name.startswith("test/"):
                raise ValueError(f"{name} is of the test set, by which nothing is chosen; take val/{name[5:]}")
            if name not in DIRECTIONS:
                raise ValueError(f"there is no {name}, only {', '.join(DIRECTIONS)}")
        if len(set(objectives)) < len(objectives):
            raise ValueError("an objective is named twice")
        return objectives

    @field_validator("storage")
    @classmethod
    def _keeps_no_secret(cls, storage: str | None) -> str | None:
        if storage is None or storage == "environment":
            return storage
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(storage)
        except (ArgumentError, ValueError) as error:
            raise ValueError("is no address of a database; like postgresql+psycopg://host/database") from error
        if url.username or url.password or any(re.search("user|pass|pwd|secret|token|key", each) for each in url.query):
            raise ValueError("holds a name or password; give it in the environment, as PGUSER and PGPASSWORD")
        return storage

    @model_validator(mode="after")
    def _can_prune(self) -> SearchOptions:
        if self.pruner is not None and len(self.objectives) > 1:
            raise ValueError("pruner: with several objectives no run is clearly behind; set pruner=null, or name one")
        if self.pruner is not None and self.objectives[0] not in EVERY_EPOCH:
            raise ValueError(f"pruner: {self.objectives[0]} is known at a run's end only; set pruner=null")
        return self

    @property
    def directions(self) -> dict[str, Direction]:
        """Which way each objective is better."""
        return {name: DIRECTIONS[name] for name in self.objectives}


def named(choice: Named) -> tuple[str, dict[str, Any]]:
    """A choice's name and its options."""
    if isinstance(choice, str):
        return choice, {}
    return str(choice.get("name", "")), {key: value for key, value in choice.items() if key != "name"}


def is_search(settings: dict[str, Any]) -> bool:
    """Whether the sweeper's part of Hydra's settings is that of a search."""
    return settings.get("_target_") == "hydra_plugins.search.OptunaSweeper"


def search_options(settings: dict[str, Any]) -> SearchOptions:
    """Check the sweeper's part of Hydra's settings.

    Args:
        settings: that part, with the sweeper's class under `_target_`.

    Raises:
        UserError: naming the option that is wrong.
    """
    given = {key: value for key, value in settings.items() if key != "_target_"}
    try:
        return SearchOptions.model_validate(given)
    except ValidationError as error:
        raise UserError(f"hydra.sweeper.{in_one_line(error, given, SearchOptions)}") from error
