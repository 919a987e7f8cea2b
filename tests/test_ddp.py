"""Two processes on a CPU: one run folder, exact metrics, nothing listening beyond this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from undisturbed import account

from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def two_ranks(command: Callable[..., subprocess.CompletedProcess[str]], tiny: list[str], tmp_path: Path) -> RunFolder:
    """A finished run of two ranks whose sets do not divide evenly."""
    folder = RunFolder(tmp_path / "runs" / "two")
    done = command(
        "train.py", *tiny, "optimizer=adamw", "weight_decay=none", "dropout=all", "data.test_size=147",
        "trainer.devices=2", f"hydra.run.dir={folder.path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_two_ranks_leave_one_folder_whose_metrics_one_device_finds_again(
    two_ranks: RunFolder, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    assert [path.name for path in two_ranks.path.parent.iterdir()] == ["two"]
    stored = two_ranks.read_result()
    assert stored["status"] == "finished"
    assert two_ranks.read_manifest()["hardware"]["ranks"] == 2
    done = command("evaluate.py", f"run={two_ranks.path}", "report=false")
    assert done.returncode == 0, done.stderr
    found = json.loads((two_ranks.evaluation / "metrics.json").read_text())
    for name in ("test/loss", "test/top1", "test/top5", "test/superclass_top1"):
        assert found[name] == stored[name]


class Started:
    """A run of two ranks that goes on in the background for a while, and has been saved once."""

    def __init__(self, folder: RunFolder, *typed: str) -> None:
        self.folder = folder
        saved = folder.saved_at()
        self.rank_0 = subprocess.Popen(
            [sys.executable, PROJECT / "src" / "train.py", *typed],
            cwd=folder.path.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while folder.saved_at() == saved:
            assert self.rank_0.poll() is None, self.rank_0.communicate()[1]
            time.sleep(0.05)

    @property
    def ranks(self) -> tuple[int, int]:
        """Their process numbers."""
        children = Path(f"/proc/{self.rank_0.pid}/task/{self.rank_0.pid}/children").read_text().split()
        (rank_1,) = (int(child) for child in children if b"train.py" in Path(f"/proc/{child}/cmdline").read_bytes())
        return self.rank_0.pid, rank_1

    def send(self, number: int, rank: int) -> tuple[int, float]:
        """Give a rank a signal; the exit code of the run, and the seconds until both ranks were gone."""
        ranks, sent = self.ranks, time.monotonic()
        os.kill(ranks[rank], number)
        code = self.rank_0.wait(120)
        while any(Path(f"/proc/{pid}").exists() for pid in ranks):
            time.sleep(0.01)
        return code, time.monotonic() - sent


@pytest.fixture
def long(tiny: list[str]) -> list[str]:
    """Overrides of a run of two ranks that is seconds long, and saved often."""
    tiny.remove("logger=csv")
    return [
        *tiny, "data.train_size=3000", "trainer.devices=2", "trainer.max_epochs=4", "averaging=ema", "dropout=all",
        "checkpoint.every_steps=10",
    ]  # fmt: skip


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="finds the ranks in /proc, which is Linux's"
)


@needs_proc
def test_a_signal_to_either_rank_saves_and_a_dead_rank_ends_the_run_with_its_reason(
    long: list[str], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    typed = [*long, "trainer.max_epochs=1000", f"hydra.run.dir={folder.path}"]
    code, _ = Started(folder, *typed).send(signal.SIGTERM, rank=1)
    assert code == 75
    assert folder.read_result()["status"] == "interrupted"
    steps = folder.read_result()["steps"]
    assert checkpoints.read(folder.checkpoint("last"))["global_step"] == steps
    again = Started(folder, f"resume={folder.path}")
    dead = again.ranks[1]
    code, _ = again.send(signal.SIGKILL, rank=1)
    assert code == 1
    result = folder.read_result()
    assert result["status"] == "failed"
    assert result["error"] == f"rank 1 (process {dead}) was killed by SIGKILL"
    assert result["steps"] > steps


@needs_proc
@pytest.mark.soak
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_two_ranks_that_were_stopped_go_on_as_if_they_had_not_been(
    long: list[str], tmp_path: Path, number: signal.Signals, rank: int, figure: Callable[..., None]
) -> None:
    accounts = {}
    for name in ("whole", "stopped"):
        folder = RunFolder(tmp_path / name)
        run = Started(folder, *long, f"hydra.run.dir={folder.path}")
        if name == "stopped":
            code, seconds = run.send(number, rank)
            assert code == 75
            figure("seconds until two ranks were saved and gone after a signal, at most", round(seconds, 1), max)
            run = Started(folder, f"resume={folder.path}")
        assert run.rank_0.wait(300) == 0
        accounts[name] = account(folder)
    different = [key for key, value in accounts["whole"].items() if accounts["stopped"].get(key) != value]
    assert different == []
    figure("runs of two ranks stopped by a signal and resumed: bit-identical", 1)


@needs_proc
@pytest.mark.soak
@pytest.mark.parametrize("rank", [0, 1])
def test_a_dead_rank_takes_the_other_down(
    long: list[str], tmp_path: Path, rank: int, figure: Callable[..., None]
) -> None:
    folder = RunFolder(tmp_path / "run")
    run = Started(folder, *long, "trainer.max_epochs=1000", f"hydra.run.dir={folder.path}")
    _, seconds = run.send(signal.SIGKILL, rank)
    assert folder.read_result()["status"] == "failed"
    assert f"rank {rank}" in folder.read_result()["error"]
    figure("seconds until a killed rank had taken the other down, at most", round(seconds, 1), max)


@pytest.mark.soak
def test_torchrun_starts_the_same_run_in_one_folder(tiny: list[str], tmp_path: Path) -> None:
    name = f"torchrun-test-{tmp_path.name}"
    subprocess.run(
        [
            Path(sys.executable).with_name("torchrun"), "--standalone", "--nproc-per-node=2",
            PROJECT / "src" / "train.py", *tiny, "trainer.devices=2",
            f"hydra.run.dir={tmp_path}/runs/${{run_id:}}", f"name={name}",
        ],
        check=True, timeout=300, capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("torchrun_")
    assert RunFolder(folder).read_result()["status"] == "finished"


@pytest.mark.soak
def test_slurm_starts_the_same_run_in_one_folder(tiny: list[str], tmp_path: Path) -> None:
    """What `srun --ntasks=2` does: two processes that know their rank from SLURM's variables."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "SLURM_JOB_ID": "4242", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "vgg",
        "SLURM_NODELIST": "127.0.0.1", "SLURM_NODEID": "0", "SLURM_NNODES": "1",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    words = [*tiny, "trainer.devices=2", f"hydra.run.dir={tmp_path}/runs/${{run_id:}}"]
    ranks = [
        subprocess.Popen(
            [sys.executable, PROJECT / "src" / "train.py", *words],
            env=shared | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == "slurm_4242"
    assert RunFolder(folder).read_result()["status"] == "finished"
