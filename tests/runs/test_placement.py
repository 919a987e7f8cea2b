"""Where a run's folder is: one for all its ranks, a new one for every run, and found again when a run goes on."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts import script

import vgg_cifar
from vgg_cifar.composition import compose_and_check
from vgg_cifar.errors import UserError
from vgg_cifar.runs import placement
from vgg_cifar.runs.folder import RunFolder

CONFIG: dict[str, Any] = {
    "seed": 0,
    "resume": None,
    "tags": ["first"],
    "data": {"name": "cifar100", "root": "/here", "download": None, "batch_size": 128},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "logger": {"tensorboard": True, "images": 64},
    "trainer": {"max_epochs": 10, "devices": 1, "precision": "32-true"},
}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names neither ranks nor jobs."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_")) or name in ("RANK", "LOCAL_RANK", "GROUP_WORLD_SIZE"):
            monkeypatch.delenv(name)


def changed(**changes: Any) -> dict[str, Any]:
    """The configuration with some options changed; two underscores stand for the dot in a key."""
    config = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        *groups, name = key.split("__")
        node = config
        for group in groups:
            node = node[group]
        node[name] = value
    return config


def ids_of_ranks(**environment: str) -> list[str]:
    """What two processes, side by side below this one, call their run."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", "from vgg_cifar.runs.placement import run_id; print(run_id())"],
            env=os.environ | {"PYTHONPATH": str(Path(vgg_cifar.__file__).parents[1]), "RANK": rank} | environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    answers = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return answers


def leave_run(path: Path, config: dict[str, Any], age: float) -> RunFolder:
    """A folder as a run leaves it, with a checkpoint of so many seconds ago."""
    folder = RunFolder(path)
    folder.checkpoints.mkdir(parents=True)
    folder.write_config(config)
    last = folder.checkpoint("last")
    last.write_bytes(b"")
    os.utime(last, (1e9 - age, 1e9 - age))
    return folder


def test_nothing_differs_between_a_configuration_and_itself() -> None:
    assert placement.differences(CONFIG, copy.deepcopy(CONFIG)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"resume": "auto"},
        {"tags": ["second"]},
        {"data__root": "/there"},
        {"data__download": True},
        {"trainer__max_epochs": 20},
        {"trainer__devices": 4},
        {"logger": {"tensorboard": False, "images": 0}},
        {"logger__images": 0},
        {"monitor_test": True},
    ],
    ids=str,
)
def test_what_does_not_make_it_another_run_may_change(change: dict[str, Any]) -> None:
    assert placement.differences(CONFIG, changed(**change)) == []
    assert placement.differences(changed(**change), CONFIG) == []


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"data__batch_size": 64}, "data.batch_size: 128 -> 64"),
        ({"optimizer__lr": 0.2}, "optimizer.lr: 0.1 -> 0.2"),
        ({"optimizer__momentum": 0.9}, "optimizer.momentum: null -> 0.9"),
        ({"data__rooted": True}, "data.rooted: null -> true"),  # not data.root
        ({"trainer__precision": "bf16-mixed"}, "trainer.precision: 32-true -> bf16-mixed"),
        ({"data": {"name": "cifar10", "root": "/here", "batch_size": 128}}, "data.name: cifar100 -> cifar10"),
    ],
    ids=str,
)
def test_what_makes_it_another_run_is_named_with_both_values(change: dict[str, Any], difference: str) -> None:
    assert placement.differences(CONFIG, changed(**change)) == [difference]


def test_all_differences_are_named() -> None:
    new = changed(seed=1, optimizer={"name": "adam", "lr": 0.1}, tags=[], trainer__precision="64-true")
    expected = ["optimizer.name: sgd -> adam", "seed: 0 -> 1", "trainer.precision: 32-true -> 64-true"]
    assert placement.differences(CONFIG, new) == expected


def test_every_option_that_may_change_exists() -> None:
    raw = compose_and_check([])[0]
    for key in placement.MAY_CHANGE:
        node: Any = raw
        for part in key.split("."):
            assert part in node, key
            node = node[part]


def test_runs_of_the_same_second_have_folders_of_their_own() -> None:
    ids = [placement.run_id() for _ in range(20)]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_[0-9a-f]{4}", name) for name in ids)
    # Of 20 draws of four digits two are equal once in 350 tries, three pairs are once in a hundred million.
    assert len(set(ids)) >= len(ids) - 2


@pytest.mark.parametrize("given", ["none", "default", ""])
def test_ranks_of_one_torchrun_without_an_id_share_a_folder(given: str) -> None:
    one, other = ids_of_ranks(TORCHELASTIC_RUN_ID=given, GROUP_WORLD_SIZE="1")
    assert one == other
    assert str(os.getpid()) in one


def test_another_torchrun_without_an_id_has_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    ours = placement.run_id()  # of ranks beside this process
    below, _ = ids_of_ranks(TORCHELASTIC_RUN_ID="none")
    assert ours == placement.run_id()
    assert ours != below


def test_ranks_of_a_torchrun_with_an_id_share_a_folder_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job42")
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    names = set()
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        names.add(placement.run_id())
    (name,) = names
    assert "job42" in name


def test_a_torchrun_over_several_machines_needs_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--rdzv-id"):
        placement.run_id()


def slurm(monkeypatch: pytest.MonkeyPatch, job: int, tasks: int, rank: int, step: int = 0) -> str:
    for name, value in {"JOB_ID": job, "NTASKS": tasks, "PROCID": rank, "STEP_ID": step}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    return placement.run_id()


def test_tasks_of_a_slurm_step_share_a_folder_and_other_steps_and_jobs_have_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [
        {slurm(monkeypatch, job, tasks=4, rank=rank, step=step) for rank in range(4)}
        for job in (7, 8)
        for step in (0, 1)
    ]
    assert [len(name) for name in names] == [1] * 4
    assert len(set.union(*names)) == 4


def test_single_tasks_of_a_slurm_job_are_runs_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "slurm" not in slurm(monkeypatch, job=7, tasks=1, rank=0)


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1"}, 1),
        ({"SLURM_PROCID": "3"}, 3),
        ({"RANK": "5", "LOCAL_RANK": "1"}, 5),
    ],
    ids=str,
)
def test_the_rank_is_what_a_launcher_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], rank: int
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert placement.rank() == rank


def test_the_newest_run_of_the_same_configuration_is_the_one_to_go_on_with(tmp_path: Path) -> None:
    leave_run(tmp_path / "c", CONFIG, age=300)
    newest = leave_run(tmp_path / "a", changed(trainer__max_epochs=5), age=100)
    leave_run(tmp_path / "b", CONFIG, age=200)
    found = placement.resumable(tmp_path, CONFIG, dict)
    assert found is not None
    assert found.path == newest.path


def test_other_runs_are_passed_over(tmp_path: Path) -> None:
    fitting = leave_run(tmp_path / "fitting", CONFIG, age=1000)
    leave_run(tmp_path / "another seed", changed(seed=1), age=1)
    leave_run(tmp_path / "no configuration", CONFIG, age=2).config.unlink()
    leave_run(tmp_path / "no checkpoint", CONFIG, age=3).checkpoint("last").unlink()
    busy = leave_run(tmp_path / "in use", CONFIG, age=4)
    busy.lock()
    (tmp_path / "a file").write_text("")
    found = placement.resumable(tmp_path, CONFIG, dict)
    assert found is not None
    assert found.path == fitting.path
    busy.unlock()
    found = placement.resumable(tmp_path, CONFIG, dict)
    assert found is not None
    assert found.path == busy.path


def test_where_no_run_fits_there_is_none_to_go_on_with(tmp_path: Path) -> None:
    leave_run(tmp_path / "another seed", changed(seed=1), age=1)
    assert placement.resumable(tmp_path, CONFIG, dict) is None
    assert placement.resumable(tmp_path / "never made", CONFIG, dict) is None


def torchrun(monkeypatch: pytest.MonkeyPatch, name: str = "job", world: int = 4, machines: int = 2) -> None:
    values = {"TORCHELASTIC_RUN_ID": name, "WORLD_SIZE": str(world), "GROUP_WORLD_SIZE": str(machines), "RANK": "0"}
    for key, value in values.items():
        monkeypatch.setenv(key, value)


def test_a_run_belongs_to_the_launch_that_began_it_and_to_those_that_went_on_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = leave_run(tmp_path / "run", CONFIG, age=1)
    run.write_manifest({"launch": "torchrun_job", "resumed": [{"launch": None}, {"launch": "torchrun_later"}]})
    assert placement.begun_by_this_launch(run.path) is None
    for name, ours in {"job": True, "later": True, "other": False}.items():
        torchrun(monkeypatch, name)
        assert (placement.begun_by_this_launch(run.path) is not None) == ours
    assert placement.begun_by_this_launch(tmp_path / "none") is None


def test_a_run_that_no_launcher_began_belongs_to_no_launch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = leave_run(tmp_path / "run", CONFIG, age=1)
    for manifest in ({}, {"launch": None}, {"launch": 3, "resumed": "damaged"}, {"resumed": [None]}):
        run.write_manifest(manifest)
        torchrun(monkeypatch)
        assert placement.begun_by_this_launch(run.path) is None


@pytest.mark.parametrize(("devices", "num_nodes"), [(2, 2), ("auto", 2)])
def test_options_that_ask_for_what_torchrun_started_are_taken(
    monkeypatch: pytest.MonkeyPatch, devices: int | str, num_nodes: int
) -> None:
    torchrun(monkeypatch)
    placement.refuse_other_ranks(devices, num_nodes)


@pytest.mark.parametrize(
    ("devices", "num_nodes", "key"),
    [(1, 1, "num_nodes"), (4, 1, "num_nodes"), (1, 2, "devices"), ("auto", 1, "num_nodes")],
)
def test_options_that_ask_for_other_ranks_than_torchrun_started_are_refused(
    monkeypatch: pytest.MonkeyPatch, devices: int | str, num_nodes: int, key: str
) -> None:
    torchrun(monkeypatch)
    said = rf"^trainer\.{key}: torchrun started 4 processes on 2 machines; set trainer.num_nodes=2 trainer.devices=2$"
    with pytest.raises(UserError, match=said):
        placement.refuse_other_ranks(devices, num_nodes)


def test_several_machines_take_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    placement.refuse_other_ranks(8, 1)
    with pytest.raises(UserError, match=r"^trainer.num_nodes: 2 machines take a launcher"):
        placement.refuse_other_ranks(1, 2)
    monkeypatch.setenv("SLURM_PROCID", "1")
    placement.refuse_other_ranks(1, 2)


ASKING = pytest.mark.parametrize("command", ["evaluate", "export", "predict", "reproduce"])
"""The commands that are told a run."""


def refused(command: str, monkeypatch: pytest.MonkeyPatch, outputs: Path, *typed: str) -> str:
    """Why a command does not begin, where runs lie in `outputs`."""
    monkeypatch.setattr(placement, "OUTPUTS", outputs)
    monkeypatch.setattr(sys, "argv", [f"{command}.py", *typed])
    with pytest.raises(UserError) as caught:
        script(command).main()
    return str(caught.value)


@ASKING
@pytest.mark.parametrize("typed", [[], ["run="]])
def test_a_command_that_is_told_no_run_names_the_latest(
    command: str, typed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    for age, name in enumerate(["reruns/mine_1/0/0", "quickstart/b", "sweeps/mine/0"]):
        folder = outputs / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").touch()
        os.utime(folder / "manifest.json", (1e9 - age, 1e9 - age))
    line = "run: which one? The latest is run=outputs/"
    assert refused(command, monkeypatch, outputs, *typed) == f"{line}reruns/mine_1/0/0"
    os.utime(outputs / "quickstart" / "b" / "manifest.json", (2e9, 2e9))
    assert refused(command, monkeypatch, outputs, *typed) == f"{line}quickstart/b"


@ASKING
def test_a_command_that_is_told_no_run_says_where_there_is_none(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    line = f"run: which one? There is none in {tmp_path} yet; src/train.py makes one"
    assert refused(command, monkeypatch, tmp_path) == line
