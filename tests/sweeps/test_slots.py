"""How many jobs run at a time, and which GPUs or threads each has."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vgg_cifar.errors import UserError
from vgg_cifar.sweeps.slots import Share, Slots

UUIDS = ["GPU-5a1c2a36-9d2f", "MIG-0b5c7e11-6c1d"]


def wants(devices: int | str = 1, accelerator: str = "auto", num_nodes: int = 1) -> Any:
    """What a share is taken for."""
    return SimpleNamespace(
        trainer=SimpleNamespace(devices=devices, accelerator=accelerator, num_nodes=num_nodes),
    )


def taken(slots: Slots, *wanted: Any) -> list[Share]:
    """The shares of jobs that are started one after the other until there is no room."""
    shares = []
    for each in wanted:
        share = slots.take(each)
        if share is None:
            break
        shares.append(share)
    return shares


def gpus_of(shares: list[Share]) -> list[tuple[str, ...]]:
    assert all(share.environment == {"CUDA_VISIBLE_DEVICES": ",".join(share.gpus)} for share in shares)
    return [share.gpus for share in shares]


def test_each_gpu_has_a_job() -> None:
    slots = Slots(["0", "1", "2", "3"], threads=8, jobs=None)
    shares = taken(slots, *[wants()] * 9)
    assert gpus_of(shares) == [("0",), ("1",), ("2",), ("3",)]
    slots.give_back(shares[2])
    assert gpus_of(taken(slots, *[wants()] * 9)) == [("2",)]


def test_a_job_has_as_many_gpus_as_it_asks_for_and_waits_until_they_are_free() -> None:
    slots = Slots(["0", "1", "2", "3"], threads=8, jobs=None)
    shares = taken(slots, wants(2), wants(1), wants(2))
    assert gpus_of(shares) == [("0", "1"), ("2",)]
    slots.give_back(shares[0])
    assert slots.take(wants("auto")) is None
    assert gpus_of(taken(slots, wants(2))) == [("0", "1")]


def test_a_job_that_takes_every_gpu_runs_alone() -> None:
    slots = Slots(["0", "1", "2"], threads=8, jobs=None)
    assert gpus_of(taken(slots, wants("auto"), wants())) == [("0", "1", "2")]


def test_fewer_jobs_than_gpus_when_asked() -> None:
    assert gpus_of(taken(Slots(["0", "1", "2"], threads=8, jobs=2), *[wants()] * 9)) == [("0",), ("1",)]


def test_more_jobs_than_gpus_share_them_evenly() -> None:
    slots = Slots(["0", "1"], threads=8, jobs=4)
    shares = taken(slots, *[wants()] * 9)
    assert gpus_of(shares) == [("0",), ("1",), ("0",), ("1",)]
    slots.give_back(shares[1])
    assert gpus_of(taken(slots, wants())) == [("1",)]


def test_gpus_keep_the_names_that_the_environment_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(UUIDS))
    assert gpus_of(taken(Slots.of_this_machine(None), *[wants()] * 9)) == [(UUIDS[0],), (UUIDS[1],)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert Slots.of_this_machine(None).gpus == ["3", "1"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert Slots.of_this_machine(None).gpus == ["0", "1"]


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_not_there(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert Slots.of_this_machine(None).gpus == []


def test_one_job_has_the_whole_cpu_as_a_single_run_has_it() -> None:
    assert taken(Slots([], threads=8, jobs=None), *[wants()] * 9) == [Share((), {})]


@pytest.mark.parametrize(
    ("jobs", "devices", "threads"), [(2, 1, "4"), (4, 1, "2"), (2, 2, "2"), (3, "auto", "2"), (16, 1, "1"), (4, 4, "1")]
)
def test_jobs_on_a_cpu_and_their_processes_divide_its_threads(jobs: int, devices: int | str, threads: str) -> None:
    shares = taken(Slots([], threads=8, jobs=jobs), *[wants(devices)] * 99)
    assert shares == [Share((), {"OMP_NUM_THREADS": threads})] * jobs


def test_jobs_that_want_no_gpu_do_not_wait_for_one() -> None:
    slots = Slots(["0"], threads=8, jobs=None)
    shares = taken(slots, wants(), wants(1, "cpu"))
    assert [share.gpus for share in shares] == [("0",), ()]
    assert slots.take(wants(1, "cpu")) is None


def test_the_threads_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert Slots.of_this_machine(None).threads == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert Slots.of_this_machine(None).threads == 6
    for nonsense in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert Slots.of_this_machine(None).threads == 3


def test_what_never_fits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    slots = Slots(["0", "1"], threads=8, jobs=1)
    for fits in (wants(2), wants("auto"), wants(16, "cpu")):
        slots.refuse_what_never_fits(fits)
    with pytest.raises(UserError, match=r"trainer\.devices: 3 GPUs are asked for, this machine has 2"):
        slots.refuse_what_never_fits(wants(3))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"trainer\.accelerator"):
        Slots([], threads=8, jobs=None).refuse_what_never_fits(wants(1, "cuda"))
