"""Two processes on a CPU: one run folder, exact metrics, nothing listening beyond this machine."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vgg_cifar.runs.folder import RunFolder


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
    done = command("evaluate.py", f"run={two_ranks.path}")
    assert done.returncode == 0, done.stderr
    found = json.loads((two_ranks.evaluation / "metrics.json").read_text())
    for name in ("test/loss", "test/top1", "test/top5", "test/superclass_top1"):
        assert found[name] == stored[name]


@pytest.mark.soak
def test_torchrun_starts_the_same_run_in_one_folder(tiny: list[str], tmp_path: Path) -> None:
    project = Path(__file__).resolve().parents[1]
    name = f"torchrun-test-{tmp_path.name}"
    subprocess.run(
        [
            Path(__import__("sys").executable).with_name("torchrun"), "--standalone", "--nproc-per-node=2",
            project / "src" / "train.py", *tiny, "trainer.devices=2",
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
    import os
    import socket
    import sys

    project = Path(__file__).resolve().parents[1]
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
            [sys.executable, project / "src" / "train.py", *words],
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
