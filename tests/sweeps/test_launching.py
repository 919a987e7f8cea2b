"""Real sweeps, typed as a user types them: every job is the run that a single command would have made."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from undisturbed import account

from vgg_cifar.runs.folder import RunFolder

Command = Callable[..., subprocess.CompletedProcess[str]]

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE = 600
"""Seconds that anything here may take at most."""

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are looked up in /proc")


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a command complained of; it is shown if a test fails."""
    print(done.stdout, done.stderr)
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def folders_in(sweep: Path) -> list[str]:
    return sorted(path.name for path in sweep.iterdir() if path.is_dir())


def test_a_job_that_fails_is_named_at_once_and_the_others_finish(
    command: Command, tiny: list[str], tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep"
    torch.save({"no": "network"}, tmp_path / "bad.pt")
    typed = [*tiny, "trainer.max_epochs=1", f"model.weights={tmp_path}/bad.pt,null", "hydra.launcher.jobs=2"]
    done = command("train.py", "-m", *typed, f"hydra.sweep.dir={sweep}")
    assert done.returncode == 1
    assert errors(done) == []  # it is told where the jobs are told of, not as a mistake of the sweep's own
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("job 0 failed"))
    assert f"model.weights: {tmp_path}/bad.pt" in line
    assert "1 of 2 finished, 1 failed" in done.stdout
    assert folders_in(sweep) == ["0", "1"]
    bad, good = RunFolder(sweep / "0"), RunFolder(sweep / "1")
    assert bad.read_result()["status"] == "failed"
    assert bad.read_result()["error"] in line
    assert good.read_result()["status"] == "finished"
    # The same command again does not start the finished one, and tries the failed one.
    before = (good.path / "output.txt").stat()
    torch.save({}, tmp_path / "bad.pt")
    done = command("train.py", "-m", *typed, f"hydra.sweep.dir={sweep}")
    assert done.returncode == 1
    assert "2 jobs (1 finished before; 1 to go on with)" in done.stdout
    assert (good.path / "output.txt").stat().st_mtime_ns == before.st_mtime_ns


def test_one_wrong_value_among_good_ones_stops_everything_before_the_start(
    command: Command, tiny: list[str], tmp_path: Path
) -> None:
    done = command("train.py", "-m", *tiny, "optimizer.lr=0.1,-1", f"hydra.sweep.dir={tmp_path}/sweep")
    assert done.returncode == 2
    assert done.stdout == ""
    assert errors(done) == done.stderr.splitlines()
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: optimizer.lr: ")
    assert "-1" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
def test_jobs_of_two_processes_and_of_one_are_what_single_runs_are(
    command: Command,
    tiny: list[str],
    tmp_path: Path,
    figure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")  # both have to find the same number by themselves
    sweep = tmp_path / "sweep"
    tiny.remove("logger=csv")  # TensorBoard's files are compared too
    done = command("train.py", "-m", *tiny, "trainer.devices=2,1", f"hydra.sweep.dir={sweep}")
    assert errors(done) == []
    assert done.returncode == 0
    assert folders_in(sweep) == ["0", "1"]
    for number, devices in enumerate((2, 1)):
        alone = tmp_path / f"alone_{devices}"
        done = command("train.py", *tiny, f"trainer.devices={devices}", f"hydra.run.dir={alone}")
        assert errors(done) == []
        assert RunFolder(sweep / str(number)).read_config()["trainer"]["devices"] == devices
        assert account(RunFolder(sweep / str(number))) == account(RunFolder(alone))
        figure("jobs of a sweep over trainer.devices=2,1: equal to the single run to the last digit", 1)


class Typed:
    """A sweep that runs in the background."""

    def __init__(self, sweep: Path, *overrides: str) -> None:
        self.sweep = sweep
        with (sweep.parent / f"{sweep.name}.txt").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, PROJECT / "src" / "train.py", "-m", *overrides, f"hydra.sweep.dir={sweep}"],
                stdout=output, stderr=output, cwd=sweep.parent,
            )  # fmt: skip

    def jobs(self) -> dict[int, int]:
        """The number of each job that runs, with the id of its process."""
        found = {}
        for pid, words in _processes():
            where = next((word for word in words if word.startswith(("hydra.run.dir=", "resume="))), "")
            folder = Path(where.partition("=")[2].strip("'"))
            if folder.parent == self.sweep:
                found[int(folder.name)] = pid
        return found

    def trains_until(self, number: int, epochs: int) -> bool:
        """Wait until a job has trained so long; False if it ends first."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status, done = state(RunFolder(self.sweep / str(number)))
            if status == "running" and done >= epochs:
                return True
            if number not in self.jobs():
                return False
            time.sleep(0.05)
        raise AssertionError("it never was so")


def _processes() -> Iterator[tuple[int, list[str]]]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0]:  # not what only waits to be reaped
            yield int(path.name), words


def state(folder: RunFolder) -> tuple[str, int]:
    """What a job's folder says: its status, and the epochs it has done."""
    result = folder.read_result()
    return result.get("status", "queued"), result.get("epochs", 0)


def starts(folder: RunFolder) -> list[str]:
    """The lines with which each process of a job that got so far began to train."""
    lines = (folder.path / "output.txt").read_text(errors="replace").splitlines()
    return [line for line in lines if line.startswith(("Running in ", "Going on from step "))]


@needs_proc
@pytest.mark.soak
def test_a_sweep_that_is_killed_again_and_again_ends_as_one_that_was_not(
    command: Command, tiny: list[str], tmp_path: Path, figure: Callable[..., None]
) -> None:
    epochs = 16
    tiny.remove("logger=csv")
    typed = [
        *tiny, f"trainer.max_epochs={epochs}", "checkpoint.every_steps=3", "optimizer=sgd,adam",
        "weight_decay=none,standard", "seed=0,1,2", "hydra.launcher.jobs=2",
    ]  # fmt: skip
    done = command("train.py", "-m", *typed, f"hydra.sweep.dir={tmp_path}/whole")
    assert errors(done) == []
    assert done.returncode == 0

    sweep = tmp_path / "killed"
    folders = {number: RunFolder(sweep / str(number)) for number in range(12)}
    chosen = random.Random(5)
    plan = [("parent", "starts"), ("parent", "trains"), ("parent", "trains"), ("child", "starts"), ("child", "trains")]
    chosen.shuffle(plan)
    hits = dict.fromkeys(folders, 0)
    finished: dict[int, tuple[int, ...]] = {}

    def check_what_is_finished() -> None:
        for number, folder in folders.items():
            if folder.path.exists() and state(folder)[0] == "finished":
                files = (folder.result, folder.manifest, folder.checkpoint("last"), folder.path / "output.txt")
                touched = tuple(path.stat().st_mtime_ns for path in files)
                assert finished.setdefault(number, touched) == touched, f"job {number} was started again"

    running = Typed(sweep, *typed)
    commands, kills = 1, 0
    while plan:
        # Some jobs are to finish between kills, and each kill is to come at another place of a job.
        enough = min(2 * kills, 8)
        while sum(folder.path.exists() and state(folder)[0] == "finished" for folder in folders.values()) < enough:
            assert running.process.poll() is None
            time.sleep(0.2)
        victim, while_it = plan[0]
        moment = chosen.uniform(0, 3) if while_it == "starts" else chosen.randrange(1, epochs - 1)
        jobs = running.jobs()
        new = [number for number in jobs if state(folders[number])[0] != "running"]
        candidates = new if while_it == "starts" else list(jobs)
        if not candidates:
            time.sleep(0.05)
            continue
        number = chosen.choice(candidates)
        if while_it == "starts":
            time.sleep(moment)
            hit = state(folders[number])[0] != "running" and number in running.jobs()
        else:
            hit = running.trains_until(number, int(moment))
        jobs = running.jobs()
        if not hit or number not in jobs:
            continue
        plan.pop(0)
        kills += 1
        if victim == "child":
            os.kill(jobs[number], signal.SIGKILL)
            hits[number] += 1
            figure(f"kills -9 of a job while it {while_it}", 1)
            continue
        running.process.kill()
        running.process.wait()
        since = time.monotonic()
        for each in jobs:
            hits[each] += 1
        while running.jobs():
            assert time.monotonic() - since < 20, "a job outlives its sweep"
            time.sleep(0.05)
        figure("seconds until no job was left of a killed sweep, at most", round(time.monotonic() - since, 1), max)
        figure(f"kills -9 of a sweep while a job {while_it}", 1)
        check_what_is_finished()
        running = Typed(sweep, *typed)
        commands += 1
    code = running.process.wait(PATIENCE)
    while code == 1:  # a job was killed, and the command that saw it does not try it again
        check_what_is_finished()
        assert commands < 10
        running = Typed(sweep, *typed)
        commands += 1
        code = running.process.wait(PATIENCE)
    assert code == 0
    assert kills == 5
    check_what_is_finished()
    assert sorted(finished) == sorted(folders)
    assert folders_in(sweep) == sorted(map(str, folders))
    for number, folder in folders.items():
        assert 1 <= len(starts(folder)) <= 1 + hits[number], f"job {number} was started without need"
        assert account(folder) == account(RunFolder(tmp_path / "whole" / str(number))), f"job {number}"
        figure("jobs of a sweep killed again and again: equal to an undisturbed one's to the last digit", 1)
    figure("commands until such a sweep was finished", commands)
    figure("times that one of its jobs went on from a checkpoint", sum(len(starts(f)) - 1 for f in folders.values()))


@needs_proc
@pytest.mark.soak
def test_a_job_that_diverges_and_one_that_is_killed_are_named_and_the_good_ones_finish(
    tiny: list[str], tmp_path: Path, figure: Callable[..., None]
) -> None:
    sweep = tmp_path / "sweep"
    steady = ["schedule=constant", "schedule.warmup=0"]
    running = Typed(
        sweep, *tiny, *steady, "trainer.max_epochs=16", "optimizer.lr=0.01,1e30", "seed=0,1", "hydra.launcher.jobs=2"
    )
    killed = RunFolder(sweep / "1")
    while not killed.path.exists() or state(killed)[1] < 3:
        assert running.process.poll() is None
        time.sleep(0.1)
    os.kill(running.jobs()[1], signal.SIGKILL)
    assert running.process.wait(PATIENCE) == 1
    said = (tmp_path / "sweep.txt").read_text()
    print(said)
    reasons = [line for line in said.splitlines() if re.match(r"job \d failed", line)]
    assert [line.split()[1] for line in sorted(reasons)] == ["1", "2", "3"]
    of_the_killed, *of_the_others = sorted(reasons)
    assert "it was killed by SIGKILL" in of_the_killed
    assert all("the loss (nan) is not finite at step 1, learning rate 1e+30" in line for line in of_the_others)
    states = [state(RunFolder(sweep / str(number)))[0] for number in range(4)]
    assert states == ["finished", "failed", "failed", "failed"]
    assert "sweep sweep: 1 of 4 finished, 3 failed; the same command goes on\n" in said
    # The same command again: what was killed goes on where it was, what diverges does so again.
    running = Typed(sweep, *tiny, *steady, "trainer.max_epochs=16", "optimizer.lr=0.01,1e30", "seed=0,1")
    assert running.process.wait(PATIENCE) == 1
    assert state(killed) == ("finished", 16)
    assert [line.split()[0] for line in starts(killed)] == ["Running", "Going"]
    figure("jobs that diverged or were killed among good ones: named with the reason", 3)
