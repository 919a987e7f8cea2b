"""A study remembers what it searches, gives each trial once, and finds better than chance does."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
from pretended_search import study

from vgg_cifar.errors import RunError, UserError
from vgg_cifar.sweeps.search import storage
from vgg_cifar.sweeps.search.study import Study

EPOCHS = 8
TRIALS = 40


def test_a_study_of_something_else_is_refused_with_the_difference(tmp_path: Path) -> None:
    study(tmp_path, ["x=interval(0,1)"])
    with pytest.raises(UserError, match=r"searches something else \(x: 0.0 to 1.0 -> 0.0 to 2.0\)"):
        study(tmp_path, ["x=interval(0,2)"])
    with pytest.raises(UserError, match=r"\(x: 0.0 to 1.0 -> null; y: null -> 1,2\)"):
        study(tmp_path, ["y=1,2"])
    with pytest.raises(UserError, match=r"\(seeds_per_trial: 1 -> 2\)"):
        study(tmp_path, ["x=interval(0,1)"], seeds_per_trial=2)
    with pytest.raises(UserError, match=r"\(val/loss: null -> minimize; val/top1: maximize -> null\)"):
        study(tmp_path, ["x=interval(0,1)"], objectives=["val/loss"])
    again = study(tmp_path, ["x=interval(0,1)"], n_trials=99, sampler="tpe", pruner="median")
    assert again.standing().taken == 0


def test_other_fixed_options_are_another_study(tmp_path: Path) -> None:
    first = study(tmp_path)
    with pytest.raises(UserError, match=r"\(epochs: 4 -> 5\)"):
        Study("test", tmp_path, first.options, first.space, {"basis": {"epochs": 5}})


def test_a_study_that_another_program_made_is_refused(tmp_path: Path) -> None:
    import optuna

    made = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", study_name="test", direction="maximize")
    made.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(UserError, match="is not one of this project"):
        study(tmp_path)


def test_a_database_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^hydra\.sweeper\.storage: .+ cannot be opened: ") as raised:
        study(tmp_path, storage=f"sqlite:///{tmp_path}/no/such/folder/study.db")
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"^hydra\.sweeper\.storage: nothing://here/ cannot be opened: "):
        study(tmp_path, storage="nothing://here")


def test_the_environment_may_say_where_the_study_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^hydra\.sweeper\.storage: environment: OPTUNA_STORAGE holds no address"):
        study(tmp_path, storage="environment")
    monkeypatch.setenv("OPTUNA_STORAGE", "postgresql+psycopg://me:se/cret@127.0.0.1:1/db?password=hidden")
    with pytest.raises(UserError) as raised:
        study(tmp_path, storage="environment")
    assert str(raised.value).startswith("hydra.sweeper.storage: postgresql+psycopg://127.0.0.1:1/db cannot be opened")
    assert "cret" not in str(raised.value)
    assert "hidden" not in str(raised.value)
    monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{tmp_path}/elsewhere.db")
    study(tmp_path, storage="environment")
    assert (tmp_path / "elsewhere.db").is_file()


def test_a_database_that_goes_away_is_one_line(tmp_path: Path) -> None:
    begun = study(tmp_path)
    begun.ask()
    (tmp_path / "study.db").write_bytes(b"no database any more" * 1000)
    with pytest.raises(RunError, match=r"^the study cannot be reached: .+"):
        begun.ask()


def test_there_are_no_more_trials_than_asked_for(tmp_path: Path) -> None:
    one, two = study(tmp_path, n_trials=3), study(tmp_path, n_trials=3)
    numbers = [each.ask() for each in (one, two, one, two, one)]
    assert numbers == [0, 1, 2, None, None]
    assert one.standing().running == (0, 1, 2)


def test_the_last_trial_goes_to_one_of_two_that_ask_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = study(tmp_path, n_trials=1), study(tmp_path, n_trials=1)
    empty = one.standing()
    monkeypatch.setattr(two, "standing", lambda: empty)  # as it was a moment ago
    assert (one.ask(), two.ask()) == (0, None)
    assert [trial.number for trial in one.trials()] == [0]


def test_an_early_end_is_told_once_it_is_behind(tmp_path: Path) -> None:
    ours = study(tmp_path, pruner={"name": "median", "n_startup_trials": 1})
    first, second = ours.ask(), ours.ask()
    assert first is not None
    assert second is not None
    assert ours.report(first, {1: 0.5, 2: 0.6}, 3) is None
    ours.complete(first, [0.6])
    assert ours.report(second, {1: 0.5}, 3) is None
    assert ours.report(second, {1: 0.5, 2: 0.55}, 2) is None  # it is at its end anyway
    assert ours.report(second, {1: 0.5, 2: 0.55}, 3) == "behind the others after 2 epochs"
    ours.prune(second)
    standing = ours.standing()
    assert (standing.taken, standing.pruned, standing.running, standing.best) == (2, 1, (), (0, 0.6))


def test_importance_goes_to_what_matters(tmp_path: Path) -> None:
    ours = study(tmp_path, ["x=interval(0,1)", "y=interval(0,1)"], n_trials=15)
    assert ours.importance() == {}
    for _ in range(15):
        _run(ours, lambda params: params["x"])
    shares = ours.importance()["val/top1"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["x"] > 0.8


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_a_grid_has_every_point_once(tmp_path: Path, seed: int | None) -> None:
    told = {"sampler": "grid", "seed": seed, "n_trials": 12}
    for machine in (study(tmp_path, ["x=1,2,3", "y=range(0,4)"], **told) for _ in range(3)):  # it is resumed twice
        for _ in range(4):
            number = machine.ask()
            assert number is not None
            machine.complete(number, [0.5])
    assert len({tuple(trial.params.values()) for trial in machine.trials()}) == 12


def test_draws_follow_from_the_seed_but_are_not_the_same_on_two_machines(tmp_path: Path) -> None:
    def drawn(folder: str, **changed: object) -> list[float]:
        ours = study(tmp_path / folder, seed=3, n_trials=6, **changed)
        for _ in range(3):
            ours.ask()
        return [trial.params["x"] for trial in ours.trials()]

    assert drawn("a") == drawn("b")
    shared = {"storage": f"sqlite:///{tmp_path}/shared.db"}
    drawn("c", **shared)
    assert len(set(drawn("d", **shared))) == 6


def test_a_trial_that_died_before_its_first_beat_is_taken_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = {"storage": f"sqlite:///{tmp_path}/shared.db", "n_trials": 1}
    dead, alive = study(tmp_path / "dead", **shared), study(tmp_path / "alive", **shared)
    dead._study.ask()  # and no more of it
    assert alive.ask() is None
    monkeypatch.setattr(storage, "BEATS_OF_GRACE", 1)
    number = None
    for _ in range(100):
        alive.give_up_silent_ones()
        number = alive.ask()
        if number is not None:
            break
        time.sleep(0.1)
    assert number is not None
    alive.complete(number, [0.5])
    assert [trial.state.name for trial in alive.trials()] == ["COMPLETE"]


def test_the_trial_of_another_machine_is_not_taken_while_it_lives(tmp_path: Path) -> None:
    shared = {"storage": f"sqlite:///{tmp_path}/shared.db", "n_trials": 1}
    one, two = study(tmp_path / "one", **shared), study(tmp_path / "two", **shared)
    number = one.ask()
    assert number is not None
    assert not two.may_be_left_here(number)
    assert study(tmp_path / "one", **shared).may_be_left_here(number)  # the same folder, after an interruption


def test_a_trial_that_another_program_asked_for_outside_the_space_fails(tmp_path: Path) -> None:
    ours = study(tmp_path, ["x=a,b"], n_trials=2)
    ours._study.enqueue_trial({"x": "c"})
    assert ours.ask() is None
    assert ours.ask() == 1
    assert [trial.state.name for trial in ours.trials()] == ["FAIL", "RUNNING"]


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "a?b=1%20c"
    study(folder).ask()
    assert (folder / "study.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def _run(ours: Study, quality: Callable[[dict[str, float]], float]) -> int:
    """A trial whose value tends to its quality, halving the distance with every epoch; the epochs it cost."""
    number = ours.ask()
    assert number is not None
    params = ours.parameters(number)
    assert params is not None
    for epoch in range(1, EPOCHS + 1):
        value = quality(params) * (1 - 0.5**epoch)
        if ours.report(number, {epoch: value}, EPOCHS) is not None:
            ours.prune(number)
            return epoch
    ours.complete(number, [value])
    return EPOCHS


def _quality(params: dict[str, float]) -> float:
    """Best, 1, at a learning rate of 0.03 and a decay of 1e-3, with a narrow ridge."""
    from math import log10

    return 1 / (1 + 4 * (log10(params["lr"]) - log10(0.03)) ** 2 + (log10(params["decay"]) + 3) ** 2)


@pytest.mark.soak
def test_a_search_with_pruning_finds_better_than_chance_at_equal_cost(
    tmp_path: Path, figure: Callable[..., None]
) -> None:
    space = ["lr=tag(log,interval(1e-4,10))", "decay=tag(log,interval(1e-6,1))"]
    found: dict[str, list[float]] = {"random": [], "tpe": []}
    for seed in range(10):
        for sampler, pruner in (("random", None), ("tpe", "median")):
            folder = tmp_path / f"{sampler}{seed}"
            told = {"sampler": sampler, "pruner": pruner, "seed": 1000 * seed, "n_trials": 10 * TRIALS}
            ours = study(folder, space, **told)
            cost = 0
            while cost < TRIALS * EPOCHS:
                cost += _run(ours, _quality)
            best = ours.standing().best
            assert best is not None
            found[sampler].append(best[1])
    assert median(found["tpe"]) > median(found["random"])
    for sampler, values in found.items():
        figure(f"best of a known function (1 at most), {sampler}, median of 10 seeds at equal cost", median(values))
