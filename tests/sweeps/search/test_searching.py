"""A search gives its trials to free slots, ends what is behind, and comes to its number whatever interrupts it."""

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import fmean

import pytest
from pretended import PATIENCE, wait_until
from pretended_search import Plan, Searched, elsewhere, epochs_before, runs_in, study

from vgg_cifar.errors import RunError, UserError
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.sweeps import running
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.search import patience, searching, storage
from vgg_cifar.sweeps.sweep import Wanted

When = Callable[[Callable[[], object], Callable[[], object]], None]
LONG = ["x=interval(0,1)", "epochs=6", "pause=0.03"]
SLOW = ["x=interval(0,1)", "epochs=6", "pause=0.15"]
"""Long enough for a run to be seen while it is behind."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LOOKS_PER_SECOND", 50)
    monkeypatch.setattr(running, "SECONDS_BETWEEN_TRIES", 0.1)
    monkeypatch.setattr(searching, "SECONDS_BETWEEN_LOOKS", 0.1)


def test_a_trial_is_a_run_and_its_value_what_the_run_came_to(tmp_path: Path) -> None:
    searched = Searched(tmp_path, n_trials=5)
    assert searched.code == 0
    assert searched.states() == ["COMPLETE"] * 5
    for trial in searched.study.trials():
        x = trial.params["x"]
        assert trial.value == pytest.approx((1 - (x - 0.3) ** 2) * (1 - 0.5**4))
    assert len({trial.params["x"] for trial in searched.study.trials()}) == len(runs_in(tmp_path)) == 5
    assert "5 of 5 trials ended, best val/top1 " in searched.lines[-1]


def test_the_line_of_a_job_that_has_finished_counts_its_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "SECONDS_BETWEEN_LOOKS", 5)
    searched = Searched(tmp_path, n_trials=3)
    values = [trial.value for trial in searched.study.trials()]
    said = [line for line in searched.lines if " finished in " in line]
    assert len(said) == len(values) == 3
    for ended, line in enumerate(said, start=1):
        assert f"{ended} of 3 trials ended, best val/top1 {max(values[:ended]):.4g} in trial " in line


def test_the_same_command_again_adds_only_what_is_missing(tmp_path: Path) -> None:
    Searched(tmp_path, n_trials=3)
    before = {run: epochs_before(run) for run in runs_in(tmp_path)}
    again = Searched(tmp_path, n_trials=3)
    assert (again.code, again.states()) == (0, ["COMPLETE"] * 3)
    more = Searched(tmp_path, n_trials=5)
    assert (more.code, more.states()) == (0, ["COMPLETE"] * 5)
    assert {run: epochs_before(run) for run in before} == before
    values = [trial.params["x"] for trial in more.study.trials()]
    assert len(set(values)) == 5  # the sampler's seed does not begin anew


def test_what_is_behind_is_pruned_and_does_not_fail(tmp_path: Path) -> None:
    pruner = {"name": "median", "n_startup_trials": 4}
    searched = Searched(tmp_path, SLOW, at_a_time=3, n_trials=14, pruner=pruner)
    assert searched.code == 0
    assert set(searched.states()) == {"COMPLETE", "PRUNED"}
    pruned = [trial for trial in searched.study.trials() if trial.state.name == "PRUNED"]
    assert sum("pruned after" in line and "behind the others after" in line for line in searched.lines) > 0
    for trial in pruned:
        (folder,) = searched.searching.folders()(trial.params)
        result = RunFolder(folder).read_result()
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
    searched = Searched(tmp_path, SLOW, at_a_time=3, n_trials=8, seeds_per_trial=2, pruner=pruner)
    assert searched.code == 0
    runs = {trial.number: len(searched.searching.folders()(trial.params)) for trial in searched.study.trials()}
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
    assert [epochs_before(run) for run in runs_in(tmp_path)] == [[0]] * len(
        {t.params["x"] for t in searched.study.trials()}
    )


def test_a_search_that_is_killed_and_interrupted_comes_to_just_its_trials(tmp_path: Path) -> None:
    gate = tmp_path / "gate"  # while it is shut, no run comes to its end
    space = [*LONG, f"gate={gate}"]
    told = {"n_trials": 12, "pruner": {"name": "median", "n_startup_trials": 8}, "sampler": "tpe"}
    gate.touch()
    for number in (signal.SIGKILL, signal.SIGTERM):
        begun = len(runs_in(tmp_path))
        process = elsewhere(tmp_path, space, **told)
        wait_until(lambda begun=begun: len(runs_in(tmp_path)) > begun + 2)
        gate.unlink()
        wait_until(lambda: len(at_the_gate(tmp_path)) == 2)
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == (75 if number == signal.SIGTERM else -number), said
        stopped = at_the_gate(tmp_path)
        gate.touch()
    assert 0 < len(study(tmp_path, space, **told).trials()) < 12
    last = Searched(tmp_path, space, **told)
    assert last.code == 0
    assert len(last.study._study.trials) == 12  # in the whole database, none of them twice
    assert set(last.states()) <= {"COMPLETE", "PRUNED"}
    assert len({trial.params["x"] for trial in last.study.trials()}) == 12
    for run in stopped:
        assert epochs_before(run)[-1] == 5  # it went on where it was
    assert sum(len(epochs_before(run)) for run in runs_in(tmp_path)) == 12 + 4  # twice, two went on


def at_the_gate(folder: Path) -> list[Path]:
    """Runs that have one epoch to go."""
    results = {run: RunFolder(run).read_result() for run in runs_in(folder)}
    return [run for run, result in results.items() if result.get("epochs") == 5 and result["status"] != "finished"]


def test_a_run_that_was_stopped_by_hand_is_left_to_the_next_command(tmp_path: Path, when: When) -> None:
    space = [*LONG, f"gate={tmp_path}/gate"]

    def stop_one() -> None:
        (stopped,) = at_the_gate(tmp_path)[:1]
        os.kill(int((stopped / "starts.txt").read_text().split()[0]), signal.SIGTERM)
        wait_until(lambda: RunFolder(stopped).read_result()["status"] == "interrupted")
        (tmp_path / "gate").touch()

    when(lambda: len(at_the_gate(tmp_path)) == 2, stop_one)
    searched = Searched(tmp_path, space, n_trials=4)
    assert searched.code == 75
    assert sorted(searched.states()) == ["COMPLETE"] * 3 + ["RUNNING"]
    again = Searched(tmp_path, space, n_trials=4)
    assert (again.code, again.states()) == (0, ["COMPLETE"] * 4)
    assert sorted(len(epochs_before(run)) for run in runs_in(tmp_path)) == [1, 1, 1, 2]


def test_a_database_that_is_away_for_a_while_stops_nothing(
    tmp_path: Path, when: When, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SECONDS_OF_PATIENCE", 0.01)
    away: list[bool] = []

    def keep_it() -> None:
        with closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None, timeout=PATIENCE)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            wait_until(lambda: away[-1])
            (tmp_path / "gate").touch()
            wait_until(lambda: all(RunFolder(run).read_result()["status"] == "finished" for run in runs_in(tmp_path)))
            connection.execute("ROLLBACK")

    keep_up = searching.Searching._keep_up

    def kept_up(self: searching.Searching) -> None:
        keep_up(self)
        away.append(self._patience.is_away)

    monkeypatch.setattr(searching.Searching, "_keep_up", kept_up)
    when(lambda: len(at_the_gate(tmp_path)) == 2, keep_it)
    searched = Searched(tmp_path, [*LONG, f"gate={tmp_path}/gate"], n_trials=4)
    assert (searched.code, searched.states()) == (0, ["COMPLETE"] * 4)
    assert [epochs_before(run) for run in runs_in(tmp_path)] == [[0]] * 4
    (line,) = [line for line in searched.lines if line.startswith("the study cannot be reached: ")]
    assert line.endswith("; what runs goes on")


def test_a_database_that_stays_away_ends_the_search_with_every_step_saved(
    tmp_path: Path, when: When, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.5)
    here = tmp_path / "study.db"

    def go_away() -> None:
        here.rename(tmp_path / "away.db")
        here.mkdir()

    when(lambda: len(at_the_gate(tmp_path)) == 2, go_away)
    searched = Searched(tmp_path, [*LONG, f"gate={tmp_path}/gate"], n_trials=4)
    assert searched.code == 75
    assert isinstance(searched.searching.broken, RunError)
    assert [RunFolder(run).read_result()["status"] for run in runs_in(tmp_path)] == ["interrupted"] * 2


def test_mistakes_only_are_not_made_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistake(self: Plan, overrides: list[str]) -> Wanted:
        raise UserError("x: is wrong")

    monkeypatch.setattr(Plan, "wanted", mistake)
    searched = Searched(tmp_path, n_trials=1000)
    assert str(searched.searching.broken) == "10 trials in a row cannot be run; the last one: x: is wrong"
    assert searched.states() == ["FAIL"] * 10


def test_code_that_changes_meanwhile_ends_the_search_with_every_step_saved(
    tmp_path: Path, when: When, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Plan.jobs

    def refused(self: Plan, wanted: list[Wanted]) -> list[Job]:
        if len(runs_in(tmp_path)) >= 2:
            raise UserError("sweep: was begun with other versions")
        return jobs(self, wanted)

    monkeypatch.setattr(Plan, "jobs", refused)
    space = [*LONG[:2], "pause=0.3"]
    searched = Searched(tmp_path, space, n_trials=4, at_a_time=3)
    assert searched.code == 75
    assert str(searched.searching.broken) == "sweep: was begun with other versions"
    assert [RunFolder(run).read_result()["status"] for run in runs_in(tmp_path)] == ["interrupted"] * 2


def test_a_value_beyond_all_measure_fails_its_trial(tmp_path: Path) -> None:
    searched = Searched(tmp_path, ["x=1e30,0.5"], n_trials=2, sampler="grid")
    assert sorted(searched.states()) == ["COMPLETE", "FAIL"]


@pytest.mark.soak
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


@pytest.mark.soak
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
    assert epochs_before(again) == [0]
    (job,) = Plan(tmp_path / "lives").jobs(
        [Plan(tmp_path).wanted(["epochs=6", "pause=0.03", *stuck[3:], f"x={taken.params['x']!r}", "seed=0"])]
    )
    assert job.path == again
