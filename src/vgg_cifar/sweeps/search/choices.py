"""Optuna's samplers and pruners by their names."""

from __future__ import annotations

import importlib
import inspect
import math
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vgg_cifar.comparison.search import Choice
from vgg_cifar.errors import UserError, first_line
from vgg_cifar.options import did_you_mean
from vgg_cifar.sweeps.search.options import SearchOptions, named
from vgg_cifar.sweeps.search.space import Space

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

MISSING = "hydra/sweeper=optuna: needs the package optuna; install it: pip install 'vgg-cifar[optuna]'"
NOT_BY_NAME = ("PartialFixedSampler", "PatientPruner", "NopPruner")
"""They take another sampler or pruner, or do nothing."""
PICKLED = "cmaes"
"""It keeps its state in the study as a pickled object, and whoever can write there could run code here."""
SEQUENCES = ("grid", "qmc")
"""They take the next point of one sequence, which the seed decides."""
TRIED = 12
"""Trials, so that the sampler is past its random ones."""
FINITE = ("grid", "bruteforce")
"""They try every point there is."""


def sampler(options: SearchOptions, space: Space, seed: int | None) -> BaseSampler:
    """The one that is asked for.

    Args:
        options: of the search.
        space: what it samples from.
        seed: its own.

    Raises:
        UserError: if there is none of this name, it has no such options, or it cannot sample from this space.
    """
    from optuna.samplers import BaseSampler

    name, given = named(options.sampler)
    made_for: dict[str, Any] = {"seed": seed, "constant_liar": True}  # several trials run at a time
    if _plain(name, "Sampler") in FINITE:
        made_for["search_space"] = points = _points(space)
        if options.n_trials > (some := math.prod(map(len, points.values()))):
            raise UserError(f"hydra.sweeper.n_trials: there are only {some} points to try, each once")
    built = _built("sampler", "Sampler", name, given, made_for)
    assert isinstance(built, BaseSampler)
    return built


def is_a_sequence(options: SearchOptions) -> bool:
    """Whether the sampler's next point follows from the seed and how many there were."""
    return _plain(named(options.sampler)[0], "Sampler") in SEQUENCES


def try_out(options: SearchOptions, space: Space) -> None:
    """See whether sampler and pruner do what they are here for, on a study in memory.

    Raises:
        UserError: naming the one that does not.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=sampler(options, space, 0), pruner=pruner(options), directions=list(options.directions.values())
    )
    for number in range(min(options.n_trials, TRIED)):
        tried = "sampler", options.sampler
        try:
            with warnings.catch_warnings(), suppress(RuntimeError):  # a grid that is at its end
                warnings.simplefilter("ignore")
                trial = study.ask(space.distributions())
                if options.pruner is not None:
                    tried = "pruner", options.pruner
                    trial.report(0.0, 1)
                    trial.should_prune()
                study.tell(trial, [float(number)] * len(options.objectives))
        except Exception as error:  # whatever options that its constructor took make it stumble over
            raise UserError(f"hydra.sweeper.{tried[0]}: {named(tried[1])[0]}: {first_line(error)}") from error


def pruner(options: SearchOptions) -> BasePruner:
    """The one that is asked for, or one that never prunes.

    Raises:
        UserError: if there is none of this name, or it has no such options.
    """
    from optuna.pruners import BasePruner, NopPruner

    if options.pruner is None:
        return NopPruner()
    built = _built("pruner", "Pruner", *named(options.pruner), {})
    assert isinstance(built, BasePruner)
    return built


def _built(option: str, suffix: str, name: str, given: dict[str, Any], made_for: dict[str, Any]) -> object:
    package = importlib.import_module(f"optuna.{option}s")
    classes = {
        _plain(each, suffix): getattr(package, each)
        for each in package.__all__
        if each.endswith(suffix) and not each.startswith("Base") and each not in NOT_BY_NAME
    }
    if _plain(name, suffix) == PICKLED:
        raise UserError(f"hydra.sweeper.{option}: {name} keeps pickled objects in the study, which are not opened here")
    classes.pop(PICKLED, None)
    found = classes.get(_plain(name, suffix))
    if found is None:
        near = did_you_mean(name, classes)
        raise UserError(f"hydra.sweeper.{option}: there is no {name or 'name'}, only {', '.join(classes)}{near}")
    takes = inspect.signature(found).parameters
    for key in given:
        if key not in takes:
            raise UserError(f"hydra.sweeper.{option}.{key}: {name} has no such option, only {', '.join(takes)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is experimental, which a name that was typed accepts
            built = found(**{key: value for key, value in made_for.items() if key in takes} | given)
    except (TypeError, ValueError, ImportError) as error:
        raise UserError(f"hydra.sweeper.{option}: {name}: {first_line(error)}") from error
    return built


def _plain(name: str, suffix: str) -> str:
    return name.lower().replace("_", "").removesuffix(suffix.lower())


def _points(space: Space) -> dict[str, list[Any]]:
    """The values of each dimension, if it has only so many."""
    points: dict[str, list[Any]] = {}
    for key, each in space.dimensions.items():
        if isinstance(each, Choice):
            points[key] = list(each.choices)
        elif each.step is not None:
            steps = round((each.high - each.low) / each.step)
            points[key] = [each.low + index * each.step for index in range(steps + 1)]
        else:
            raise UserError(
                f"hydra.sweeper.sampler: there is no end of points in {key}; give it values or a range(...)"
            )
    return points
