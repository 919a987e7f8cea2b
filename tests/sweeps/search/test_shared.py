"""Machines come to a study in a real database and leave it; no trial is run twice, none is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql import Server, postgresql
from pretended import PATIENCE, wait_until
from pretended_search import elsewhere, epochs_before, runs_in, study

SPACE = ["x=interval(0,1)", "epochs=5", "pause=0.02"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


@pytest.fixture
def shared(server: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> dict[str, object]:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return {"name": request.node.name, "storage": server.address, "heartbeat_seconds": 1}


def test_machines_share_a_study_and_the_trial_of_a_dead_one_is_taken(tmp_path: Path, shared: dict[str, object]) -> None:
    told = shared | {"n_trials": 12, "sampler": "tpe", "pruner": "median"}
    space = [*SPACE, f"gate={tmp_path}/gate"]
    dies = elsewhere(tmp_path / "dies", space, at_a_time=1, **told)
    wait_until(lambda: runs_in(tmp_path / "dies"))
    others = [elsewhere(tmp_path / name, space, at_a_time=1, **told) for name in ("a", "b")]
    wait_until(lambda: runs_in(tmp_path / "a") and runs_in(tmp_path / "b"))
    dies.kill()
    dies.communicate()
    (tmp_path / "gate").touch()
    said = [each.communicate(timeout=PATIENCE)[0] for each in others]
    assert [each.returncode for each in others] == [0, 0], said
    ended = study(tmp_path, space, **told)
    assert len(ended.trials()) == 12
    assert {trial.state.name for trial in ended.trials()} <= {"COMPLETE", "PRUNED"}
    began = {name: {run.name: epochs_before(run) for run in runs_in(tmp_path / name)} for name in ("dies", "a", "b")}
    assert not began["a"].keys() & began["b"].keys()
    assert len(began["a"] | began["b"]) == 12
    ((taken, _),) = began["dies"].items()
    assert taken in began["a"].keys() | began["b"].keys()
    assert all(starts == [0] for name in ("a", "b") for starts in began[name].values())


@pytest.mark.soak
def test_four_machines_that_come_and_go_have_just_the_trials_that_were_asked_for(
    tmp_path: Path, shared: dict[str, object]
) -> None:
    told = shared | {"n_trials": 60, "sampler": "tpe", "pruner": "hyperband", "seed": 1}
    space = ["x=interval(0,1)", "y=interval(0,1)", "epochs=5", "pause=0.2"]
    first = [elsewhere(tmp_path / name, space, at_a_time=2, **told) for name in "abc"]
    wait_until(lambda: len(runs_in(tmp_path / "a")) > 2)
    first[0].kill()
    first[1].terminate()
    later = elsewhere(tmp_path / "d", space, at_a_time=2, **told)
    assert first[0].wait(PATIENCE) == -9
    assert first[1].wait(PATIENCE) == 75
    back = elsewhere(tmp_path / "b", space, at_a_time=2, **told)
    said = [each.communicate(timeout=3 * PATIENCE)[0] for each in (first[2], later, back)]
    assert [each.returncode for each in (first[2], later, back)] == [0, 0, 0], said
    ended = study(tmp_path, space, **told)
    assert len(ended.trials()) == 60
    assert {trial.state.name for trial in ended.trials()} == {"COMPLETE", "PRUNED"}
    assert len({trial.params["x"] for trial in ended.trials()}) == 60
    runs = [run.name for name in "cd" for run in runs_in(tmp_path / name)]
    assert len(set(runs)) == len(runs)


def test_a_password_is_never_in_a_file(tmp_path: Path, shared: dict[str, object], server: Server) -> None:
    process = elsewhere(tmp_path, SPACE, n_trials=1, **shared)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "1 of 1 trials ended" in said
    secret = server.environment["PGPASSWORD"]
    assert secret not in said
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "environment.json"]
    assert written
    assert not any(secret.encode() in path.read_bytes() for path in written)
