"""A sweep's folder: jobs keep their numbers and folders, and nothing outside it is touched."""

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from vgg_cifar.config import Config
from vgg_cifar.errors import UserError
from vgg_cifar.runs.lock import Lock
from vgg_cifar.sweeps import sweep
from vgg_cifar.sweeps.job import Job, key
from vgg_cifar.sweeps.sweep import Sweep, Wanted, default_name

VERSIONS: dict[str, Any] = {"commit": "a", "dirty": False, "code": "b", "packages": {"torch": "1"}, "data": {}}
OTHERS = VERSIONS | {"code": "c", "commit": "d"}

Plan = Callable[..., list[Job]]


def number_of(number: int, overrides: list[str]) -> str:
    return str(number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweeps" / "mine"


@pytest.fixture
def plan(configure: Callable[..., Config], path: Path) -> Plan:
    """Plan a sweep of these seeds."""

    def planned(
        seeds: Iterable[int], versions: dict[str, Any] = VERSIONS, subfolder: Callable[..., str] = number_of
    ) -> list[Job]:
        wanted = [Wanted([f"seed={seed}"], config(seed)) for seed in seeds]
        return Sweep(path).jobs(wanted, versions, ["typed"], subfolder)

    base = configure()

    def config(seed: int) -> Config:
        return base.model_copy(update={"seed": seed})

    return planned


def begin(job: Job) -> None:
    job.path.mkdir(parents=True, exist_ok=True)
    job.folder.write_config(job.config.model_dump())


def stored(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / "sweep.json").read_text())
    return content


def test_jobs_are_numbered_as_they_were_typed(plan: Plan, path: Path) -> None:
    jobs = plan([5, 3])
    assert [(job.number, job.path, job.overrides) for job in jobs] == [
        (0, path / "0", ["seed=5"]),
        (1, path / "1", ["seed=3"]),
    ]
    assert [job.config.seed for job in jobs] == [5, 3]
    assert [each["number"] for each in stored(path)["jobs"]] == [0, 1]
    assert stored(path)["name"] == "mine"
    assert stored(path)["command"] == ["typed"]


def test_a_grown_or_reordered_grid_keeps_numbers_and_folders(plan: Plan, path: Path) -> None:
    before = {job.config.seed: job.path for job in plan([5, 3])}
    jobs = plan([1, 3, 5, 2])
    assert [(job.config.seed, job.number) for job in jobs] == [(1, 2), (3, 1), (5, 0), (2, 3)]
    assert before == {job.config.seed: job.path for job in jobs if job.config.seed in before}
    assert [job.number for job in plan([2])] == [3]  # one that is not typed any more is not forgotten
    assert len(stored(path)["jobs"]) == 4


def test_the_same_run_typed_twice_is_one_job(plan: Plan) -> None:
    assert [job.number for job in plan([7, 7, 8])] == [0, 1]


def test_folders_are_called_as_it_was_typed(plan: Plan, path: Path) -> None:
    jobs = plan([4, 6], subfolder=lambda number, overrides: f"group/{'_'.join(overrides)}/")
    assert [job.path for job in jobs] == [path / "group" / "seed=4", path / "group" / "seed=6"]
    assert [job.path for job in plan([4], subfolder=number_of)] == [path / "group" / "seed=4"]


@pytest.mark.parametrize("name", ["same", ".", "", "..", "../x", "a/../../x", "a/../b", "/tmp/x", "link", "link/x"])
def test_a_folder_that_is_no_jobs_own_is_refused(plan: Plan, path: Path, name: str) -> None:
    path.mkdir(parents=True)
    (path.parent / "elsewhere").mkdir()
    (path / "link").symlink_to(path.parent / "elsewhere")
    with pytest.raises(UserError, match=r"hydra\.sweep\.subdir: .* is no folder of job [01]'s own"):
        plan([0, 1], subfolder=lambda *_: name)
    assert not (path / "sweep.json").exists()


def test_a_folder_that_was_changed_by_hand_is_refused_before_anything_is_written(plan: Plan, path: Path) -> None:
    (job,) = plan([0])
    begin(job)
    assert plan([0])[0].number == 0
    job.folder.write_config(job.config.model_dump() | {"seed": 9})
    before = (path / "sweep.json").read_text()
    with pytest.raises(UserError, match=r"holds another run than job 0 \(seed: 9 -> 0\)"):
        plan([1, 0])
    assert (path / "sweep.json").read_text() == before
    assert [each.number for each in plan([1])] == [1]  # what does not want that folder is not kept from going on


def test_other_versions_are_refused_and_named(plan: Plan, path: Path) -> None:
    Sweep(path).refuse_other_versions(VERSIONS)  # nothing is there yet
    plan([0])
    Sweep(path).refuse_other_versions(VERSIONS)
    others = OTHERS | {"packages": {"torch": "2"}}
    with pytest.raises(UserError, match=r"begun with other versions \(code: a -> d; torch: 1 -> 2\)"):
        Sweep(path).refuse_other_versions(others)


def test_mixed_versions_are_written_down(plan: Plan, path: Path) -> None:
    plan([0])
    plan([0], OTHERS)
    plan([0, 1], OTHERS)
    assert stored(path)["versions"] == OTHERS
    assert stored(path)["earlier_versions"] == [VERSIONS]


def test_jobs_are_found_again_by_newer_code_that_has_more_options(plan: Plan, path: Path) -> None:
    """What the code of then did not know, neither its key nor its folder holds."""
    jobs = plan([0, 1])
    content = stored(path)
    for job, entry in zip(jobs, content["jobs"], strict=True):
        begin(job)
        raw = job.config.model_dump()
        del raw["divergence"]
        job.folder.write_config(raw)
        entry["key"] = key(raw)
        assert entry["key"] != job.key
    (path / "sweep.json").write_text(json.dumps(content))
    assert [job.number for job in plan([1, 2, 0], OTHERS)] == [1, 2, 0]
    assert [job.number for job in plan([1, 2, 0], OTHERS)] == [1, 2, 0]


def test_who_plans_is_alone(plan: Plan, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PLANNING_SECONDS", 0.1)
    path.mkdir(parents=True)
    lock = Lock(path / ".lock")
    assert lock.take()
    with pytest.raises(UserError, match="is being planned by another process; try again"):
        plan([0])
    lock.release()
    plan([0])
    assert not lock.is_held()


def entry(**changes: Any) -> dict[str, Any]:
    return {"number": 0, "folder": "0", "key": "0" * 16, "overrides": []} | changes


def described(*jobs: Any, **changes: Any) -> str:
    content = {"name": "mine", "command": [], "created": "now", "versions": VERSIONS, "jobs": [*jobs]} | changes
    return json.dumps(content)


DAMAGED = {
    "no JSON": "{",
    "no text": "\0\1",
    "of another kind": described(versions=3),
    "without a name": json.dumps({"jobs": []}),
    "a number below 0": described(entry(number=-1)),
    "a number that is none": described(entry(number="0")),
    "a key that is none": described(entry(key="../../etc")),
    "the same number": described(entry(), entry(folder="1")),
    "the same folder": described(entry(), entry(number=1)),
    "a folder above": described(entry(folder="../other")),
    "the folder above": described(entry(folder="..")),
    "the sweep's own folder": described(entry(folder=".")),
    "a folder from the root": described(entry(folder="/tmp/other")),
    "a way round": described(entry(folder="a/../0")),
    "a folder of no name": described(entry(folder="")),
    "a NUL": described(entry(folder="a\0b")),
    "half a character": described(entry(folder="\ud800")),
    "a link": described(entry(folder="link")),
    "behind a link": described(entry(folder="link/0")),
    "huge": "[" * 10_000_000,
    "deep": '{"versions": ' + "[" * 5000 + "]" * 5000 + "}",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_sweep_is_refused_in_a_line_and_left_as_it_is(plan: Plan, path: Path, text: str) -> None:
    path.mkdir(parents=True)
    (path.parent / "elsewhere").mkdir()
    (path / "link").symlink_to(path.parent / "elsewhere")
    (path / "sweep.json").write_text(text)
    for refuses in (lambda: Sweep(path).refuse_other_versions(VERSIONS), lambda: plan([0])):
        with pytest.raises(UserError, match=r"sweep\.json (is damaged|cannot be read): "):
            refuses()
    assert (path / "sweep.json").read_text() == text
    assert list((path.parent / "elsewhere").iterdir()) == []


def test_a_pipe_in_the_place_of_its_file_is_not_waited_for(plan: Plan, path: Path) -> None:
    path.mkdir(parents=True)
    os.mkfifo(path / "sweep.json")
    with pytest.raises(UserError, match="it is no file"):
        plan([0])


def test_a_runs_own_folder_is_no_sweep(path: Path) -> None:
    Sweep(path).refuse_what_is_no_sweep()
    path.mkdir(parents=True)
    Sweep(path).refuse_what_is_no_sweep()
    (path / "config.yaml").write_text("seed: 0")
    with pytest.raises(UserError, match="is a run's own folder"):
        Sweep(path).refuse_what_is_no_sweep()


@pytest.mark.parametrize("name", ["multirun.yaml", "sweep.json", ".lock", "0"])
def test_a_link_in_its_folder_is_refused(path: Path, name: str) -> None:
    path.mkdir(parents=True)
    (path / name).symlink_to(path.parent / "precious")
    with pytest.raises(UserError, match=rf"{re.escape(name)} is a link, and a sweep writes to nothing outside"):
        Sweep(path).refuse_what_is_no_sweep()


def test_a_sweep_that_nobody_named_is_called_by_what_it_sweeps() -> None:
    name = default_name("sweep", ["optimizer.lr", "seed"], ["data=synthetic"])
    assert re.fullmatch(r"lr_seed_[0-9a-f]{6}", name)
    assert default_name("sweep", ["seed", "optimizer.lr"], ["data=synthetic"]) == name
    same = ["data=synthetic", "tags=[a]", "logger=csv", "logger.images=3", "data.root=/x", "+name=me", "resume=null"]
    assert default_name("sweep", ["optimizer.lr", "seed"], same) == name
    for swept, fixed in (
        (["optimizer.lr"], ["data=synthetic"]),
        (["optimizer.lr", "seed"], []),
        (["optimizer.lr", "seed"], ["data=synthetic", "model=vgg11_bn"]),
    ):
        assert default_name("sweep", swept, fixed) != name


def test_the_order_of_what_is_fixed_does_not_matter() -> None:
    assert default_name("s", ["seed"], ["a=1", "b=2"]) == default_name("s", ["seed"], ["b=2", "a=1"])


@pytest.mark.parametrize("swept", [[], ["model.größe", "hydra/x.y"], ["x" * 200, "y"], ["+a.b@c"]])
def test_a_default_name_is_one_that_could_be_typed(configure: Callable[..., Config], swept: list[str]) -> None:
    name = default_name("sweep", swept, [])
    assert configure(f"sweep={name}").sweep == name
    assert len(name) < 100
