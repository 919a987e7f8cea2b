"""Jobs of a sweep as jobs of SLURM's, which `slurm/stand_in.py` stands for; the runs are pretended."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pretended import Told, is_alive, job, pids, starts, wait_until
from scripts import SOURCES
from slurm.pretended_cluster import Queue

from vgg_cifar.errors import UserError
from vgg_cifar.sweeps import cluster, running, slurm
from vgg_cifar.sweeps.batch_script import script
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.launching import refuse_what_cannot_run
from vgg_cifar.sweeps.options import SlurmOptions

When = Callable[[Callable[[], object], Callable[[], object]], None]
SHIPPED: dict[str, Any] = yaml.safe_load((SOURCES.parent / "conf/hydra/launcher/slurm.yaml").read_text())
del SHIPPED["_target_"]


def options(**changed: Any) -> SlurmOptions:
    return SlurmOptions(**(SHIPPED | changed))


@pytest.fixture(autouse=True)
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """SLURM's; it is asked more often than would be polite."""
    monkeypatch.setattr(cluster, "SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(running, "SECONDS_BETWEEN_TRIES", 0.1)
    monkeypatch.setattr(running, "LOOKS_PER_SECOND", 20)
    queue = Queue(tmp_path, minute=60)
    queue.enter(monkeypatch)
    yield queue
    queue.close()


def told(of: list[Job], **changed: Any) -> Told:
    return Told(of, pool=slurm.pool(options(**changed)))


def status(of: Job) -> str:
    return str(of.folder.read_result().get("status"))


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def test_every_job_is_submitted_once_and_runs_in_its_folder(tmp_path: Path, queue: Queue) -> None:
    jobs = [job(tmp_path, number) for number in range(3)]
    seen = told(jobs)
    assert seen.code == 0
    assert [starts(each) for each in jobs] == [[0]] * 3
    assert queue.states() == ["COMPLETED"] * 3
    assert "SLURM's job 101 on here" in jobs[1].output.read_text()
    assert seen.line("job 1 finished").startswith("job 1 finished in , val top1 30.0%; ")
    assert seen.lines[-1] == "sweep test: 3 of 3 finished"
    # The same command again submits none.
    assert told(jobs).code == 0
    assert len(queue.jobs()) == 3


def test_all_are_submitted_at_once_or_so_many_at_a_time(tmp_path: Path, queue: Queue, when: When) -> None:
    for at_a_time, most in ((None, 4), (2, 2)):
        folder = tmp_path / f"{most}"
        gate = tmp_path / f"gate_{most}"
        jobs = [job(folder, number, f"gate={gate}") for number in range(4)]
        seen: list[int] = []

        def look(jobs: list[Job] = jobs, gate: Path = gate, seen: list[int] = seen) -> None:
            seen.append(sum((each.path / "job.sh").exists() for each in jobs))
            gate.touch()

        when(lambda jobs=jobs, most=most: all(starts(each) for each in jobs[:most]), look)  # type: ignore[misc]
        assert told(jobs, jobs=at_a_time).code == 0
        assert seen == [most]


def test_the_script_asks_for_what_the_run_needs_and_types_what_a_person_would(tmp_path: Path) -> None:
    each = job(tmp_path / "it's", 3, "says='a b'", devices=2, num_nodes=4, accelerator="gpu")
    text = script(
        each,
        options(partition="gpu", time=90, mem_gb=32, constraint="a100&ib", extra=["--exclusive"], cpus_per_task=8),
        tmp_path,
    )
    given = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]
    name = given[1]
    assert re.fullmatch(r"--job-name=it_s-3-[0-9a-f]{8}", name)
    assert given == [
        "--requeue", name, "--output=output.txt", "--open-mode=append", "--nodes=4", "--ntasks-per-node=2",
        "--gres=gpu:2", "--cpus-per-task=8", "--mem=32G", "--time=90", "--signal=B:USR2@120", "--partition=gpu",
        "--constraint=a100&ib", "--exclusive",
    ]  # fmt: skip
    assert "export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=8\n" in text  # several machines do not meet on the loopback
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=True).returncode == 0
    cpu = script(job(tmp_path, 0), options(cpus_per_task=None), tmp_path)
    assert "--gres" not in cpu
    assert "--cpus-per-task" not in cpu
    assert "MASTER_ADDR=127.0.0.1" in cpu


def test_words_with_special_signs_come_as_they_are(tmp_path: Path) -> None:
    each = job(tmp_path / "it's $HOME `date` {a}", 0, "does=raise", "says='a \"b\" $HOME `date` {c} \\n'")
    seen = told([each])
    assert seen.code == 1
    assert '  | a "b" $HOME `date` {c} \\n' in seen.lines


def test_ranks_are_the_tasks_of_srun(tmp_path: Path, queue: Queue) -> None:
    each = job(tmp_path, 0, devices=3)
    told([each])  # pretended runs do not share a folder: one of them finds the lock taken
    assert "--ntasks-per-node=3" in (each.path / "job.sh").read_text()
    assert len((queue.jobs()[0] / "tasks").read_text().split()) == 3


def test_what_sbatch_refuses_has_failed_with_its_reason(tmp_path: Path, queue: Queue) -> None:
    seen = told([job(tmp_path, 0)], partition="nope")
    assert seen.code == 1
    reason = "sbatch: error: Batch job submission failed: Invalid partition name specified"
    assert seen.line("job 0 failed") == f"job 0 failed after : {reason}"
    assert queue.jobs() == []
    assert told([job(tmp_path, 0)]).code == 0


FAILURES = {
    "raise": "epoch 1 cannot be",
    "mistake": "model.weights: there is no such file",
    "vanish": "it ended with exit code 0 and left no finished result",
    "die": "it was killed by SIGKILL, perhaps because memory ran out",
}


def test_a_job_that_fails_is_named_with_its_reason_and_last_lines(tmp_path: Path) -> None:
    jobs = [job(tmp_path, number, f"does={does}", f"says=one|{does}ing") for number, does in enumerate(FAILURES)]
    seen = told([*jobs, job(tmp_path, 4)])
    assert seen.code == 1
    for number, (does, reason) in enumerate(FAILURES.items()):
        assert seen.line(f"job {number} failed") == f"job {number} failed after : {reason}"
        assert f"  | {does}ing" in seen.lines
    assert [status(each) for each in jobs] == ["failed"] * 4
    assert told([job(tmp_path, number) for number in range(5)]).code == 0


ENDS = {
    "NODE_FAIL": ("failed", "a machine that it ran on failed"),
    "OUT_OF_MEMORY": ("failed", "it needed more memory than it had; give hydra.launcher.mem_gb"),
    "TIMEOUT": ("failed", "SLURM ended it at its time limit, hydra.launcher.time"),
    "PREEMPTED": ("was interrupted", "SLURM gave its machines to another job; it can go on"),
    "CANCELLED": ("was interrupted", "its job 104 in SLURM was cancelled; it can go on"),
}


def test_what_slurm_did_to_a_job_is_named(tmp_path: Path, queue: Queue, when: When) -> None:
    jobs = [job(tmp_path, number, f"gate={tmp_path}/gate") for number in range(5)]

    def end_all() -> None:
        for number, state in enumerate(ENDS):
            queue.tell("ends_as", state, number)

    when(lambda: all(starts(each) for each in jobs), end_all)
    seen = told(jobs)
    assert seen.code == 1
    for number, (how, reason) in enumerate(ENDS.values()):
        assert seen.line(f"job {number} {how}") == f"job {number} {how} after : {reason}"
    (tmp_path / "gate").touch()
    assert told(jobs).code == 0
    assert {len(starts(each)) for each in jobs} == {2}
    assert len(queue.jobs()) == 10


def test_a_job_whose_time_ends_saves_its_step_and_queues_again(tmp_path: Path, queue: Queue, when: When) -> None:
    each = job(tmp_path, 0, f"gate={tmp_path}/gate")
    when(lambda: starts(each), lambda: queue.tell("warn"))
    when(lambda: len(starts(each)) == 2, (tmp_path / "gate").touch)
    assert told([each]).code == 0
    assert starts(each) == [0, 2]
    assert len(queue.jobs()) == 1


def test_it_queues_again_only_so_often(tmp_path: Path, queue: Queue, when: When) -> None:
    each = job(tmp_path, 0, f"gate={tmp_path}/gate")
    for times in (1, 2):
        when(lambda times=times: len(starts(each)) == times, lambda: queue.tell("warn"))  # type: ignore[misc]
    seen = told([each], requeues=1)
    assert seen.code == 75
    assert "hydra.launcher.requeues" in seen.line("job 0 was interrupted")
    assert starts(each) == [0, 2]


def test_ctrl_c_lets_a_running_job_save_its_step(tmp_path: Path, queue: Queue, when: When) -> None:
    each = job(tmp_path, 0, f"gate={tmp_path}/gate")
    when(lambda: starts(each), send(signal.SIGINT))
    assert told([each]).code == 75
    assert status(each) == "interrupted"
    assert queue.states() == ["FAILED"]
    (tmp_path / "gate").touch()
    assert told([each]).code == 0
    assert starts(each) == [0, 2]


def test_ctrl_c_takes_waiting_jobs_out_of_the_queue(tmp_path: Path, queue: Queue, when: When) -> None:
    jobs = [job(tmp_path, number) for number in range(2)]
    (queue.path / "closed").touch()
    when(lambda: len(queue.jobs()) == 2, send(signal.SIGINT))
    assert told(jobs).code == 75
    assert queue.states() == ["CANCELLED"] * 2
    assert not any(starts(each) for each in jobs)


def test_a_second_signal_ends_jobs_at_once(tmp_path: Path, queue: Queue, when: When) -> None:
    each = job(tmp_path, 0, f"gate={tmp_path}/gate", "does=stall")
    when(lambda: starts(each), send(signal.SIGINT))
    when(lambda: len(queue.calls("scancel")) >= 2, send(signal.SIGTERM))
    assert told([each]).code == 75
    assert queue.states() == ["CANCELLED"]
    assert not is_alive(pids(each)[0])


KILLED = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import pretended
from vgg_cifar import standalone
from vgg_cifar.sweeps import slurm
from sweeps.test_slurm import options
standalone.command = pretended.command
folder, gate, count, *told_to = sys.argv[3:]
jobs = [pretended.job(Path(folder), number, "gate=" + gate, *told_to) for number in range(int(count))]
pretended.Told(jobs, pool=slurm.pool(options()))
"""


@pytest.mark.parametrize("while_it", ["runs", "waits"])
def test_jobs_outlive_a_sweep_that_is_killed_and_are_found_again(
    tmp_path: Path, queue: Queue, when: When, while_it: str
) -> None:
    gate = tmp_path / "gate"
    jobs = [job(tmp_path, number, f"gate={gate}") for number in range(2)]
    if while_it == "waits":
        (queue.path / "closed").touch()
    sources = [str(SOURCES), str(SOURCES.parent / "tests")]
    sweep = subprocess.Popen([sys.executable, "-c", KILLED, *sources, str(tmp_path), str(gate), "2"])
    wait_until(lambda: len(queue.jobs()) == 2 and (while_it == "waits" or all(starts(each) for each in jobs)))
    sweep.kill()
    sweep.wait()
    if while_it == "waits":
        (queue.path / "closed").unlink()
    wait_until(lambda: all(starts(each) for each in jobs))
    assert all(is_alive(pids(each)[0]) for each in jobs)
    looks = len(queue.calls("squeue"))
    when(lambda: len(queue.calls("squeue")) > looks + 4, gate.touch)
    seen = told(jobs)
    assert seen.code == 0
    assert [starts(each) for each in jobs] == [[0], [0]]
    assert len(queue.jobs()) == 2


@pytest.mark.parametrize(("does", "state", "code"), [("finish", "COMPLETED", 0), ("raise", "FAILED", 1)])
def test_a_job_that_ends_while_it_is_looked_for_is_not_submitted_again(
    tmp_path: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch, does: str, state: str, code: int
) -> None:
    gate, told_to = tmp_path / "gate", [f"does={does}", "at=3"]
    each = job(tmp_path, 0, f"gate={gate}", *told_to)
    sources = [str(SOURCES), str(SOURCES.parent / "tests")]
    sweep = subprocess.Popen([sys.executable, "-c", KILLED, *sources, str(tmp_path), str(gate), "1", *told_to])
    wait_until(lambda: starts(each))
    sweep.kill()
    sweep.wait()
    finds = cluster.Cluster.find
    found: list[str | None] = []

    def find(self: cluster.Cluster, name: str, since: float) -> str | None:
        if found:  # once it has been seen to be under way
            gate.touch()
            wait_until(lambda: queue.states() == [state])
        found.append(finds(self, name, since))
        return found[-1]

    monkeypatch.setattr(cluster.Cluster, "find", find)
    seen = told([each])
    assert seen.code == code
    if does == "raise":
        assert seen.line("job 0 failed") == "job 0 failed after : epoch 3 cannot be (run by another process)"
    assert found == ["100", None]
    assert starts(each) == [0]
    assert len(queue.jobs()) == 1


def test_slurm_is_asked_about_all_jobs_in_one_call_and_not_often(
    tmp_path: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SECONDS_BETWEEN_LOOKS", 1.0)
    assert told([job(tmp_path, number) for number in range(6)]).code == 0
    assert len(queue.calls("sbatch")) == 6
    assert len(queue.calls("squeue")) < 6


def test_a_controller_that_does_not_answer_for_a_while_is_waited_for(tmp_path: Path, queue: Queue, when: When) -> None:
    gate = tmp_path / "gate"
    jobs = [job(tmp_path, number, f"gate={gate}") for number in range(2)]
    down = queue.path / "down"
    when(lambda: starts(jobs[0]), down.touch)

    def up_again() -> None:
        gate.touch()
        looks = len(queue.calls("squeue"))
        wait_until(lambda: len(queue.calls("squeue")) > looks + 5)
        down.unlink()

    when(down.exists, up_again)
    seen = told(jobs, jobs=1)
    assert seen.code == 0
    assert [starts(each) for each in jobs] == [[0], [0]]


def test_an_end_that_is_asked_for_while_the_controller_does_not_answer_comes_later(
    tmp_path: Path, queue: Queue, when: When
) -> None:
    each, down = job(tmp_path, 0, f"gate={tmp_path}/gate"), queue.path / "down"

    def stop() -> None:
        down.touch()
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: queue.calls("scancel"))
        down.unlink()

    when(lambda: starts(each), stop)
    assert told([each]).code == 75
    assert each.folder.read_result()["status"] == "interrupted"
    assert not (tmp_path / "gate").exists()


def test_a_persons_own_settings_of_slurm_neither_hide_jobs_nor_change_them(
    tmp_path: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SQUEUE_PARTITION", "SBATCH_TIMELIMIT", "SCANCEL_STATE", "SLURM_CONF"):
        monkeypatch.setenv(name, "other")
    assert told([job(tmp_path, 0)]).code == 0
    environment = json.loads((tmp_path / "0" / "environment.json").read_text())
    assert environment["SLURM_CONF"] == "other"
    assert not {"SQUEUE_PARTITION", "SBATCH_TIMELIMIT", "SCANCEL_STATE"} & environment.keys()


@pytest.mark.parametrize("accounting", [True, False])
def test_a_job_that_the_controller_has_forgotten_is_looked_up_in_the_accounting(
    tmp_path: Path, queue: Queue, when: When, accounting: bool
) -> None:
    each = job(tmp_path, 0, f"gate={tmp_path}/gate")
    if accounting:
        (queue.path / "accounting").touch()
        when(lambda: starts(each), lambda: queue.tell("ends_as", "NODE_FAIL"))
    else:
        when(lambda: starts(each), lambda: queue.tell("forgotten"))
    seen = told([each])
    assert seen.code == (1 if accounting else 75)
    said = "a machine that it ran on failed" if accounting else "SLURM knows nothing any more of its job 100"
    assert any(said in line for line in seen.lines)


def test_without_slurm_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="hydra/launcher: slurm needs sbatch, which is not here"):
        refuse_what_cannot_run(tmp_path / "sweep", [], options())
    assert not (tmp_path / "sweep").exists()


def test_a_slurm_that_does_not_answer_is_said_before_anything_is_begun(tmp_path: Path, queue: Queue) -> None:
    (queue.path / "down").touch()
    with pytest.raises(UserError, match="SLURM does not answer: slurm_load_jobs error: Unable to contact"):
        refuse_what_cannot_run(tmp_path / "sweep", [], options())


def test_apples_gpus_are_on_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trainer\.accelerator: "):
        slurm.pool(options()).room.refuse_what_never_fits(job(tmp_path, 0, accelerator="mps").config)
