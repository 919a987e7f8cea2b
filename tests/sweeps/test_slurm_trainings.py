"""Real trainings as jobs of SLURM's, real or `slurm/stand_in.py`: each ends as the run that was not disturbed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm import real
from slurm.pretended_cluster import Queue
from undisturbed import account

from vgg_cifar.runs.folder import RunFolder

pytestmark = pytest.mark.soak

Command = Callable[..., subprocess.CompletedProcess[str]]
PATIENCE = 400
"""Seconds that anything here may take at most."""
TRAIN = Path(__file__).resolve().parents[2] / "src" / "train.py"


@pytest.fixture
def tiny(tiny: list[str]) -> list[str]:
    """TensorBoard's files are compared too."""
    return [word for word in tiny if word != "logger=csv"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real.Cluster]:
    """The real one."""
    reason = real.missing()
    if reason is not None:
        pytest.skip(reason)
    with real.Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(params=["stand-in", "real"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue | real.Cluster]:
    if request.param == "real":
        yield request.getfixturevalue("installed")
        return
    queue = Queue(tmp_path, minute=60)
    yield queue
    queue.close()


class Typed:
    """A sweep of a single job in SLURM, which runs in the background."""

    def __init__(self, sweep: Path, cluster: Queue | real.Cluster, *overrides: str) -> None:
        self.folder = RunFolder(sweep / "0")
        words = ["hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.time=60"]
        with (sweep.parent / f"{sweep.name}.txt").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, TRAIN, "-m", *words, *overrides, f"hydra.sweep.dir={sweep}"],
                env=os.environ | cluster.environment, stdout=output, stderr=output, cwd=sweep.parent,
            )  # fmt: skip

    def output(self) -> str:
        """What the job wrote."""
        path = self.folder.path / "output.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def trains(self, times: int = 1) -> None:
        """Wait until it has trained some epochs in its so manieth process."""
        begun = r"^(0: )?(Running in|Going on from step) "
        self.wait(lambda: len(re.findall(begun, self.output(), re.MULTILINE)) >= times)
        epochs = self.folder.read_result().get("epochs", 0)
        self.wait(lambda: self.folder.read_result().get("epochs", 0) >= epochs + 2)

    def wait(self, condition: Callable[[], object]) -> None:
        """Until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.output()
            assert self.process.poll() is None or condition(), self.output()
            time.sleep(0.1)

    def end(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)


@pytest.fixture
def alone(command: Command, tmp_path: Path) -> Callable[..., RunFolder]:
    """The same run, typed by itself and undisturbed."""

    def train(*overrides: str) -> RunFolder:
        done = command("train.py", *overrides, f"hydra.run.dir={tmp_path}/alone")
        assert done.returncode == 0, done.stderr
        return RunFolder(tmp_path / "alone")

    return train


@pytest.mark.parametrize("devices", [1, 2])
def test_a_job_is_the_run_that_was_typed_by_itself(
    tiny: list[str], tmp_path: Path, cluster: Queue | real.Cluster, devices: int, alone: Callable[..., RunFolder]
) -> None:
    typed = [*tiny, f"trainer.devices={devices}"]
    sweep = Typed(tmp_path / "sweep", cluster, *typed)
    assert sweep.end() == 0, sweep.output()
    assert cluster.states()[-1] == "COMPLETED"
    assert account(sweep.folder) == account(alone(*typed))


def test_a_job_whose_time_is_up_queues_again_and_ends_as_if_it_had_not(
    tiny: list[str], tmp_path: Path, cluster: Queue | real.Cluster, alone: Callable[..., RunFolder]
) -> None:
    typed = [*tiny, f"trainer.max_epochs={cluster.epochs}", "trainer.devices=2"]
    sweep = Typed(tmp_path / "sweep", cluster, *typed)
    sweep.trains()
    cluster.time_is_up()
    sweep.wait(lambda: sweep.folder.read_result()["status"] == "interrupted")
    sweep.wait(lambda: cluster.states()[-1] == "PENDING" or sweep.output().count("SLURM's job ") == 2)
    cluster.begins_again()
    sweep.trains(times=2)
    assert sweep.end() == 0, sweep.output()
    assert cluster.states().count("RUNNING") == 1  # none was submitted twice; SLURM forgets those that have ended
    assert sweep.output().count("SLURM's job ") == 2
    assert account(sweep.folder) == account(alone(*typed))


def test_a_job_outlives_its_sweep_and_hears_the_next_ones_ctrl_c(
    tiny: list[str], tmp_path: Path, cluster: Queue | real.Cluster, alone: Callable[..., RunFolder]
) -> None:
    typed = [*tiny, "trainer.max_epochs=120", "trainer.devices=2"]
    sweep = Typed(tmp_path / "sweep", cluster, *typed)
    sweep.trains()
    sweep.process.kill()
    sweep.end()
    assert cluster.states()[-1] == "RUNNING"
    sweep = Typed(tmp_path / "sweep", cluster, *typed)
    sweep.wait(lambda: (tmp_path / "sweep.txt").read_text().count("job 0 starts") == 2)
    assert cluster.states().count("RUNNING") == 1  # none was submitted twice; SLURM forgets those that have ended
    assert sweep.folder.read_result()["status"] == "running"
    sweep.process.send_signal(signal.SIGINT)
    assert sweep.end() == 75
    assert sweep.folder.read_result()["status"] == "interrupted"
    assert cluster.states()[-1] == "FAILED"
    sweep = Typed(tmp_path / "sweep", cluster, *typed)
    assert sweep.end() == 0, sweep.output()
    assert account(sweep.folder) == account(alone(*typed))
