"""A search gives its trials to free slots, ends what is behind, and comes to its number whatever interrupts it."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean

import pretended_search
import pytest
from pretended import PATIENCE, wait_until
from pretended_search import Plan, Searched, study

from vgg_cifar.sweeps import running
from vgg_cifar.sweeps.search import searching

LONG = ["x=interval(0,1)", "epochs=6", "pause=0.03"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LOOKS_PER_SECOND", 50)
    monkeypatch.setattr(running, "SECONDS_BETWEEN_TRIES", 0.1)
    monkeypatch.setattr(searching, "SECONDS_BETWEEN_LOOKS", 0.1)


def runs_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/starts.txt"))


def starts_of(run: Path) -> list[int]:
    return [int(line.split()[1]) for line in (run / "starts.txt").read_text().splitlines()]


def elsewhere(folder: Path, space: list[str], at_a_time: int = 2, **changed: object) -> subprocess.Popen[str]:
    """A search in a process of its own."""
    words = json.dumps([str(folder), space, at_a_time, changed])
    return subprocess.Popen([sys.executable, pretended_search.__file__, words], stdout=subprocess.PIPE, text=True)


def test_a_trial_is_a_run_and_its_value_what_the_run_came_to(tmp_path: Path) -> None:
    searched = Searched(tmp_path, n_trials=5)
    assert searched.code == 0
    assert searched.states() == ["COMPLETE"] * 5
    for trial in searched.study.trials():
        x = trial.params["x"]
        assert trial.value == pytest.approx((1 - (x - 0.3) ** 2) * (1 - 0.5**4))
    assert len({trial.params["x"] for trial in searched.study.trials()}) == len(runs_in(tmp_path)) == 5
    assert "5 of 5 trials ended, best val/top1 " in searched.lines[-1]


def test_the_same_command_again_adds_only_what_is_missing(tmp_path: Path) -> None:
    Searched(tmp_path, n_trials=3)
    before = {run: starts_of(run) for run in runs_in(tmp_path)}
    again = Searched(tmp_path, n_trials=3)
    assert (again.code, again.states()) == (0, ["COMPLETE"] * 3)
    more = Searched(tmp_path, n_trials=5)
    assert (more.code, more.states()) == (0, ["COMPLETE"] * 5)
    assert {run: starts_of(run) for run in before} == before
    values = [trial.params["x"] for trial in more.study.trials()]
    assert len(set(values)) == 5  # the sampler's seed does not begin anew


def test_what_is_behind_is_pruned_and_does_not_fail(tmp_path: Path) -> None:
    pruner = {"name": "median", "n_startup_trials": 4}
    searched = Searched(tmp_path, LONG, n_trials=14, pruner=pruner)
    assert searched.code == 0
    assert set(searched.states()) == {"COMPLETE", "PRUNED"}
    pruned = [trial for trial in searched.study.trials() if trial.state.name == "PRUNED"]
    complete = [trial for trial in searched.study.trials() if trial.state.name == "COMPLETE"]
    assert fmean(trial.params["x"] for trial in pruned) > fmean(trial.params["x"] for trial in complete)
    assert sum("pruned after" in line and "behind the others after" in line for line in searched.lines) > 0
    for trial in pruned:
        (job,) = searched.searching.jobs_of(trial.params)
        result = job.folder.read_result()
        assert result["status"] == "interrupted" or result["epochs"] == 6  # too late to be stopped


def test_no_slot_is_idle_while_there_are_trials_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    look = running._Sweeping.look

    def looked(self: running._Sweeping, asked: list[int]) -> None:
        look(self, asked)
        if self.source.to_come():
            seen.append(len(self.pool.running))

    monkeypatch.setattr(running._Sweeping, "look", looked)
    searched = Searched(tmp_path, LONG, at_a_time=3, n_trials=12, pruner={"name": "median", "n_startup_trials": 3})
    assert searched.code == 0
    assert len(seen) > 3
    assert set(seen) == {3}


def test_every_seed_of_a_trial_counts(tmp_path: Path) -> None:
    searched = Searched(tmp_path, n_trials=3, seeds_per_trial=3)
    assert searched.code == 0
    assert len(runs_in(tmp_path)) == 9
    for trial in searched.study.trials():
        x = trial.params["x"]
        assert trial.value == pytest.approx(fmean(1 - (x - 0.3) ** 2 - seed / 100 for seed in range(3)) * (1 - 0.5**4))


def test_a_pruned_trial_has_no_other_seeds(tmp_path: Path) -> None:
    pruner = {"name": "median", "n_startup_trials": 2}
    searched = Searched(tmp_path, LONG, n_trials=8, seeds_per_trial=2, pruner=pruner)
    assert searched.code == 0
    runs = {trial.number: len(searched.searching.jobs_of(trial.params)) for trial in searched.study.trials()}
    states = dict(enumerate(searched.states()))
    assert "PRUNED" in states.values()
    assert runs == {number: 1 if state == "PRUNED" else 2 for number, state in states.items()}


def test_several_objectives_are_all_told(tmp_path: Path) -> None:
    space = ["x=interval(0,1)", "epochs=1,4"]
    searched = Searched(tmp_path, space, n_trials=6, objectives=["val/top1", "train_seconds"], sampler="nsgaii")
    assert searched.code == 0
    for trial in searched.study.trials():
        assert trial.values is not None
        assert trial.values[1] == float(trial.params["epochs"])
    assert "best" not in searched.lines[-1]


def test_a_failed_trial_is_named_and_the_search_goes_on(tmp_path: Path) -> None:
    searched = Searched(tmp_path, ["x=0.1,0.2,0.3", "does=finish,raise"], n_trials=6, sampler="bruteforce")
    failed = [trial for trial in searched.study.trials() if trial.state.name == "FAIL"]
    assert failed
    assert all(trial.user_attrs["error"] == "epoch 1 cannot be" for trial in failed)
    assert all(trial.params["does"] == "raise" for trial in failed)
    assert len(searched.states()) == 6
    assert searched.code == 1


def test_a_trial_that_cannot_be_run_is_named_and_counts(tmp_path: Path) -> None:
    searched = Searched(tmp_path, ["x=0.1,0.99"], n_trials=2, sampler="grid")
    assert sorted(searched.states()) == ["COMPLETE", "FAIL"]
    (line,) = [line for line in searched.lines if line.startswith("trial")]
    assert line.endswith("cannot be run: x: is too large")


def test_trials_that_try_the_same_share_a_run(tmp_path: Path) -> None:
    searched = Searched(tmp_path, ["x=0.1,0.2"], n_trials=6)
    assert searched.states() == ["COMPLETE"] * 6
    assert [starts_of(run) for run in runs_in(tmp_path)] == [[0]] * len(
        {t.params["x"] for t in searched.study.trials()}
    )


def test_a_search_that_is_killed_and_interrupted_comes_to_just_its_trials(tmp_path: Path) -> None:
    draw = random.Random(0)
    told = {"n_trials": 20, "pruner": {"name": "median", "n_startup_trials": 5}, "sampler": "tpe"}
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = elsewhere(tmp_path, LONG, **told)
        begun = len(runs_in(tmp_path))
        wait_until(lambda begun=begun: len(runs_in(tmp_path)) > begun + 4)
        time.sleep(draw.random() / 5)
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == (75 if number == signal.SIGTERM else -number), said
    assert 0 < len(study(tmp_path, LONG, **told).trials()) < 20
    last = Searched(tmp_path, LONG, **told)
    assert last.code == 0
    assert len(last.study._study.trials) == 20  # in the whole database, none of them twice
    assert set(last.states()) == {"COMPLETE", "PRUNED"}
    assert len({trial.params["x"] for trial in last.study.trials()}) == 20
    went_on = [run for run in runs_in(tmp_path) if len(starts_of(run)) > 1]
    assert went_on  # where they were
    assert all(starts_of(run) == sorted(starts_of(run)) for run in runs_in(tmp_path))


def test_two_searches_of_one_study_never_run_the_same_trial(tmp_path: Path) -> None:
    told = {"n_trials": 16, "storage": f"sqlite:///{tmp_path}/shared.db"}
    processes = [elsewhere(tmp_path / name, LONG, at_a_time=1, **told) for name in ("a", "b")]
    assert [process.communicate(timeout=PATIENCE) and process.returncode for process in processes] == [0, 0]
    ended = study(tmp_path, LONG, **told)
    assert [trial.state.name for trial in ended.trials()] == ["COMPLETE"] * 16
    a, b = ({run.name for run in runs_in(tmp_path / name)} for name in ("a", "b"))
    assert a
    assert b
    assert not a & b
    assert len(a | b) == 16


def test_the_trial_of_a_dead_machine_is_taken_by_another(tmp_path: Path) -> None:
    told = {"n_trials": 4, "storage": f"sqlite:///{tmp_path}/shared.db"}
    stuck = [*LONG, f"gate={tmp_path}/gate"]
    dies = elsewhere(tmp_path / "dies", stuck, at_a_time=1, **told)
    wait_until(lambda: runs_in(tmp_path / "dies"))
    lives = elsewhere(tmp_path / "lives", stuck, at_a_time=1, **told)
    wait_until(lambda: runs_in(tmp_path / "lives"))
    dies.kill()
    dies.communicate()
    (tmp_path / "gate").touch()
    lives.communicate(timeout=PATIENCE)
    assert lives.returncode == 0
    ended = study(tmp_path, stuck, **told)
    assert [trial.state.name for trial in ended.trials()] == ["COMPLETE"] * 4
    (taken,) = [trial for trial in ended.trials() if trial.system_attrs.get("retry_history")]
    (begun,) = runs_in(tmp_path / "dies")
    again = tmp_path / "lives" / begun.name
    assert starts_of(again) == [0]
    (job,) = Plan(tmp_path / "lives").jobs(
        [Plan(tmp_path).wanted(["epochs=6", "pause=0.03", *stuck[3:], f"x={taken.params['x']!r}", "seed=0"])]
    )
    assert job.path == again
