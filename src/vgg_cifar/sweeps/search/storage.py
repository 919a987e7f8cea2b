"""Where a study is kept: a file in the sweep's folder, or a database that machines share."""

from __future__ import annotations

import os
import random
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgg_cifar.errors import RunError, UserError, first_line, redacted
from vgg_cifar.sweeps.search import choices
from vgg_cifar.sweeps.search.options import SearchOptions

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

FILE = "study.db"
ENVIRONMENT = "OPTUNA_STORAGE"
BEATS_OF_GRACE = 3
MOST_RETRIES = 3
"""How often a trial is begun anew whose machine fell silent; perhaps it is what ends machines."""
SECONDS_OF_PATIENCE = 60
"""How long a database file may be locked by another process."""
TRIES = 5
"""How often a database is opened: of several machines that make its tables at once, all but one fail."""


def address_of(options: SearchOptions, path: Path) -> str:
    """Where a study is.

    Args:
        options: of the search.
        path: the sweep's folder.

    Raises:
        UserError: if the environment does not say it.
    """
    from sqlalchemy import URL

    if options.storage is None:
        return URL.create("sqlite", database=str(path / FILE)).render_as_string()
    if options.storage != "environment":
        return options.storage
    address = os.environ.get(ENVIRONMENT, "")
    if "://" not in address:
        raise UserError(f"hydra.sweeper.storage: environment: {ENVIRONMENT} holds no address of a database")
    return address


def opened(name: str, options: SearchOptions, path: Path) -> tuple[RDBStorage, Study]:
    """A study with the storage that it is in; both are made if they are not there.

    Args:
        name: of the study.
        options: of the search.
        path: the sweep's folder.

    Raises:
        UserError: if the storage cannot be opened.
    """
    from optuna import create_study

    address = address_of(options, path)
    try:
        for tries_left in reversed(range(TRIES)):
            try:
                with reached():
                    storage = _storage(address, options.heartbeat_seconds)
                    return storage, create_study(
                        storage=storage,
                        study_name=name,
                        directions=list(options.directions.values()),
                        load_if_exists=True,
                        pruner=choices.pruner(options),
                    )
            except RunError:
                if not tries_left:
                    raise
                time.sleep(random.random() / 2)
    except (RunError, ImportError, ValueError, RuntimeError) as error:
        reason = redacted(first_line(error.__cause__ or error))
        raise UserError(f"hydra.sweeper.storage: {_shown(address)} cannot be opened: {reason}") from error
    raise AssertionError


def _storage(address: str, heartbeat_seconds: int) -> RDBStorage:
    from optuna.storages import RDBStorage

    is_file = address.startswith("sqlite")
    engine: dict[str, Any] = {"pool_pre_ping": True}  # a connection that was cut is made anew
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental: heartbeats
        return RDBStorage(
            address,
            engine_kwargs={"connect_args": {"timeout": SECONDS_OF_PATIENCE}} if is_file else engine,
            heartbeat_interval=heartbeat_seconds,
            grace_period=BEATS_OF_GRACE * heartbeat_seconds,
            heartbeat_stale_trial_callback=_begin_anew,
        )


def _begin_anew(study: Study, silent: FrozenTrial) -> None:
    """Have a trial wait to be taken again, without what its samplers and pruners knew of its first attempt."""
    from optuna import create_trial
    from optuna.trial import TrialState

    history = [*silent.system_attrs.get("retry_history", []), silent.number]
    if len(history) <= MOST_RETRIES:
        study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=silent.params,
                distributions=silent.distributions,
                system_attrs={"retry_history": history},
            )
        )


def _shown(address: str) -> str:
    """An address without names, passwords and whatever else it holds."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return "the address"
    return f"{url.drivername}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"


@contextmanager
def reached() -> Iterator[None]:
    """What the database says that cannot be reached, as one line.

    Raises:
        RunError: in its place.
    """
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause = error.__cause__ or error
        raise RunError(f"the study cannot be reached: {redacted(first_line(cause))}") from error
