"""Real searches, typed as a user types them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pretended import wait_until

from vgg_cifar.comparison.search import Search
from vgg_cifar.runs.folder import RunFolder

Command = Callable[..., subprocess.CompletedProcess[str]]

PROJECT = Path(__file__).resolve().parents[3]
ENOUGH = 3600
"""Seconds for a whole search on busy cores."""


def test_a_search_leaves_runs_a_study_and_a_page(command: Command, tiny: list[str], tmp_path: Path) -> None:
    typed = [*tiny, "trainer.max_epochs=1", "hydra/sweeper=optuna", f"hydra.sweep.dir={tmp_path}/search"]
    typed += ["hydra.sweep.subdir=jobs/${hydra:job.num}"]
    space = ["optimizer.lr=tag(log,interval(1e-3,1e-1))", "optimizer=sgd,adam"]
    told = ["hydra.sweeper.n_trials=2", "hydra.launcher.jobs=2", "hydra.sweeper.objectives=[val/loss,train_seconds]"]
    done = command("train.py", "-m", *typed, *space, *told)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 trials ended" in done.stdout
    search = Search.read(tmp_path / "search")
    assert search is not None
    assert list(search.objectives) == ["val/loss", "train_seconds"]
    assert [trial.state for trial in search.trials] == ["complete", "complete"]
    for trial in search.trials:
        (job,) = trial.jobs
        run = RunFolder(tmp_path / "search" / job)
        options, result = run.read_config()["optimizer"], run.read_result()
        assert (options["lr"], options["name"]) == (trial.params["optimizer.lr"], trial.params["optimizer"])
        assert trial.values == [result["val/loss"], result["train_seconds"]]
    page = (tmp_path / "search" / "report.html").read_text()
    assert "optimizer.lr" in page
    assert (tmp_path / "search" / "study.db").is_file()
    # Another space is refused.
    done = command("train.py", "-m", *typed, "optimizer=sgd,adam", *told)
    assert done.returncode == 2
    assert "optimizer.lr: 0.001 to 0.1, log -> null" in done.stderr


@pytest.mark.soak
def test_all_ranks_of_a_run_that_is_pruned_save_its_step_and_end(
    command: Command, tiny: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "search"
    typed = [
        *tiny, "trainer.devices=2", "trainer.accelerator=cpu", "trainer.max_epochs=500", "optimizer=sgd,adam",
        "hydra/sweeper=optuna", f"hydra.sweep.dir={folder}", "hydra.sweeper.n_trials=1",
        "hydra.sweeper.pruner={name: threshold, lower: 0.99}",
    ]  # fmt: skip
    done = command("train.py", "-m", *typed)
    assert done.returncode == 1  # no trial is complete
    assert "job 0 pruned after" in done.stdout
    found = Search.read(folder)
    assert found is not None
    assert [trial.state for trial in found.trials] == ["pruned"]
    run = RunFolder(folder / "0")
    result = run.read_result()
    assert result["status"] == "interrupted"
    assert 1 <= result["epochs"] < 500
    assert result.get("test_reads", 0) == 0
    assert run.has_checkpoint()
    assert not run.in_use()
    assert "rank" not in (run.path / "output.txt").read_text().lower().partition("error")[2]


@pytest.mark.soak
def test_forty_trials_with_pruning_that_are_interrupted_twice_are_forty(
    command: Command, tiny: list[str], tmp_path: Path, figure: Callable[..., None]
) -> None:
    folder = tmp_path / "search"
    typed = [
        *tiny, "trainer.max_epochs=6", "hydra/sweeper=optuna", f"hydra.sweep.dir={folder}", "hydra.launcher.jobs=2",
        "optimizer.lr=tag(log,interval(1e-5,0.1))", "label_smoothing=interval(0,0.5)", "hydra.sweeper.n_trials=40",
        "hydra.sweeper.pruner={name: median, n_startup_trials: 5}", "hydra.sweeper.objectives=[val/loss]",
        "hydra.sweeper.seed=0",
    ]  # fmt: skip

    def search() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, PROJECT / "src" / "train.py", "-m", *typed],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def begun() -> int:
        return len(list(folder.glob("*/config.yaml")))

    for number, enough in ((signal.SIGKILL, 8), (signal.SIGTERM, 20)):
        process = search()
        wait_until(lambda enough=enough: begun() >= enough, patience=ENOUGH)
        time.sleep(1)
        process.send_signal(number)
        said, _ = process.communicate(timeout=ENOUGH)
        assert process.returncode in (-number, 75), said
    process = search()
    said, _ = process.communicate(timeout=ENOUGH)
    assert process.returncode == 0, said
    found = Search.read(folder)
    assert found is not None
    states = [trial.state for trial in found.trials]
    assert len(states) == 40
    assert [trial.number for trial in found.trials] == list(range(40))  # no row of the database beside them
    assert set(states) == {"complete", "pruned"}
    assert len({tuple(trial.params.items()) for trial in found.trials}) == 40
    jobs = json.loads((folder / "sweep.json").read_text())["jobs"]
    assert sorted(job for trial in found.trials for job in trial.jobs) == sorted(job["folder"] for job in jobs)
    for trial in found.trials:
        result = RunFolder(folder / trial.jobs[0]).read_result()
        assert result["status"] == "finished" if trial.state == "complete" else result["epochs"] <= 6
    figure("trials of a search interrupted twice", len(states))
    figure("of them pruned", states.count("pruned"))
