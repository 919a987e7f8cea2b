"""What a search may be told: any sampler and pruner of Optuna's, nothing of the test set, no secret."""

from typing import Any

import optuna
import pytest
import yaml
from pretended_search import options

from vgg_cifar.choices import CONF
from vgg_cifar.errors import UserError
from vgg_cifar.sweeps.search import choices
from vgg_cifar.sweeps.search.options import DIRECTIONS, search_options
from vgg_cifar.sweeps.search.space import Space

SHIPPED = yaml.safe_load((CONF / "hydra" / "sweeper" / "optuna.yaml").read_text())
SPACE = Space(["a=1,2,3", "b=range(0,4)"])


def told(**changed: Any) -> Any:
    return search_options(SHIPPED | changed)


def test_the_shipped_file_is_taken_as_it_is() -> None:
    assert told().model_dump() == {key: value for key, value in SHIPPED.items() if key != "_target_"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"objectives": ["test/top1"]}, "objectives: test/top1 is of the test set, by which nothing is chosen"),
        ({"objectives": ["val/top2"]}, "objectives: there is no val/top2, only val/top1"),
        ({"objectives": []}, "objectives: should"),
        ({"objectives": ["val/top1", "val/top1"]}, "objectives: an objective is named twice"),
        ({"objectives": ["val/top1", "train_seconds"], "pruner": "median"}, "pruner: with several objectives"),
        ({"objectives": ["train_seconds"], "pruner": "median"}, "pruner: train_seconds is known at a run's end only"),
        ({"n_trials": 0}, "n_trials: should be greater than or equal to 1"),
        ({"storage": "postgresql://me:secret@host/db"}, "storage: holds a name or password"),
        ({"storage": "postgresql+psycopg://me:se/cret@host/db"}, "storage: holds a name or password"),
        ({"storage": "postgresql+psycopg://host/db?user=me&password=secret"}, "storage: holds a name or password"),
        ({"storage": "postgresql+psycopg:///db?host=h&passfile=secret"}, "storage: holds a name or password"),
        ({"storage": "study.db"}, "storage: is no address of a database"),
        ({"n_trials": 10_001}, "n_trials: should be less than or equal to 10000"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        told(**changed)
    assert str(raised.value).startswith(f"hydra.sweeper.{message}")
    assert "secret" not in str(raised.value)


def test_every_objective_has_a_direction_of_optunas() -> None:
    study = optuna.create_study(directions=list(DIRECTIONS.values()))
    assert len(study.directions) == len(DIRECTIONS)
    assert not any(name.startswith("test/") for name in DIRECTIONS)


SAMPLERS = {
    "tpe": "TPESampler",
    "TPESampler": "TPESampler",
    "random": "RandomSampler",
    "grid": "GridSampler",
    "brute_force": "BruteForceSampler",
    "qmc": "QMCSampler",
    "gp": "GPSampler",
    "nsgaii": "NSGAIISampler",
    "NSGAIII": "NSGAIIISampler",
}


@pytest.mark.parametrize(("name", "expected"), SAMPLERS.items(), ids=SAMPLERS)
def test_samplers_go_by_their_names(name: str, expected: str) -> None:
    assert type(choices.sampler(options(sampler=name), SPACE, 0)).__name__ == expected


@pytest.mark.parametrize("name", ["median", "hyperband", "successive_halving", "percentile", "threshold"])
def test_pruners_go_by_their_names(name: str) -> None:
    own = {"percentile": {"percentile": 25.0}, "threshold": {"lower": 0.1}}.get(name, {})
    pruner = choices.pruner(options(pruner={"name": name, **own}))
    assert type(pruner).__name__.lower() == f"{name.replace('_', '')}pruner"


def test_their_options_are_theirs() -> None:
    sampler = choices.sampler(options(sampler={"name": "tpe", "n_startup_trials": 3}), SPACE, 0)
    assert sampler._n_startup_trials == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("option", "choice", "message"),
    [
        ("sampler", "tpee", "hydra.sweeper.sampler: there is no tpee, only "),
        ("sampler", "tpee", "; did you mean tpe?"),
        ("sampler", "base", "hydra.sweeper.sampler: there is no base, only "),
        ("sampler", {"n_startup_trials": 3}, "hydra.sweeper.sampler: there is no name, only "),
        ("sampler", {"name": "tpe", "wrong": 1}, "hydra.sweeper.sampler.wrong: tpe has no such option, only "),
        ("sampler", "cmaes", "hydra.sweeper.sampler: cmaes keeps pickled objects in the study"),
        ("pruner", "medium", "; did you mean median?"),
        ("pruner", {"name": "median", "n_startup_trials": -1}, "hydra.sweeper.pruner: median: "),
    ],
)
def test_a_wrong_choice_is_refused_in_one_line(option: str, choice: Any, message: str) -> None:
    given = options(**{option: choice})
    with pytest.raises(UserError) as raised:
        choices.sampler(given, SPACE, 0) if option == "sampler" else choices.pruner(given)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_grid_has_no_more_trials_than_points() -> None:
    assert choices.sampler(options(sampler="grid", n_trials=12), SPACE, 0)
    with pytest.raises(UserError, match=r"hydra\.sweeper\.n_trials: there are only 12 points to try, each once"):
        choices.sampler(options(sampler="grid", n_trials=13), SPACE, 0)
    with pytest.raises(UserError, match=r"hydra\.sweeper\.sampler: there is no end of points in a"):
        choices.sampler(options(sampler="grid"), Space(["a=interval(0,1)"]), 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sampler": {"name": "tpe", "n_startup_trials": "five"}}, "hydra.sweeper.sampler: tpe: "),
        ({"sampler": {"name": "tpe", "gamma": 0.1}}, "hydra.sweeper.sampler: tpe: "),
        ({"pruner": {"name": "median", "n_warmup_steps": "two"}}, "hydra.sweeper.pruner: median: "),
    ],
)
def test_what_a_sampler_or_pruner_stumbles_over_is_found_before_the_start(changed: Any, message: str) -> None:
    with pytest.raises(UserError) as raised:
        choices.try_out(options(n_trials=20, **changed), SPACE)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "nsgaii", "nsgaiii", "gp"])
def test_samplers_and_pruners_that_are_fit_are_taken(name: str) -> None:
    choices.try_out(options(n_trials=20, sampler=name, pruner="hyperband"), SPACE)
    choices.try_out(options(n_trials=12, sampler="grid"), SPACE)
    choices.try_out(options(n_trials=12, sampler="bruteforce"), SPACE)
