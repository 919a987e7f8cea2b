"""A run in a process of its own does not take itself for a rank of whatever started it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vgg_cifar import standalone
from vgg_cifar.runs import placement

OF_RANKS = {
    "RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0", "ROLE_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1", "ROLE_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "mine", "TORCHELASTIC_RESTART_COUNT": "0", "SLURM_PROCID": "1",
    "SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1",
}  # fmt: skip
"""What torchrun, SLURM and Lightning set."""
OTHERS = {
    "CUDA_VISIBLE_DEVICES": "1",
    "SLURM_CONF": "/etc/slurm.conf",
    "MASTER_OF_CEREMONIES": "me",
    "RANKING": "3",
    "MY_RANK": "4",
    "HOME": "/home",
}


def test_it_knows_of_no_ranks_and_of_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (OF_RANKS | OTHERS).items():
        monkeypatch.setenv(name, value)
    found = standalone.environment(OMP_NUM_THREADS="3")
    assert not OF_RANKS.keys() & found.keys()
    assert found == {name: value for name, value in os.environ.items() if name not in OF_RANKS} | {
        "OMP_NUM_THREADS": "3"
    }
    monkeypatch.setattr(os, "environ", found)
    assert placement.rank() == 0
    assert not placement.run_id().startswith(("torchrun", "slurm"))


def test_what_is_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert standalone.environment(CUDA_VISIBLE_DEVICES="1")["CUDA_VISIBLE_DEVICES"] == "1"


def test_it_is_what_a_person_would_type(tmp_path: Path) -> None:
    python, script, *overrides = standalone.command(["seed=1", "tags=[a b]"])
    assert python == sys.executable
    assert overrides == ["seed=1", "tags=[a b]"]
    done = subprocess.run([python, script, "seed=x"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: seed: should be a valid integer, is 'x'\n"
