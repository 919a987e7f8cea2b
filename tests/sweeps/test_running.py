"""Jobs are run until each is finished or has failed; whatever ends one, or the sweep, none is lost and none lingers."""

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pretended import Elsewhere, Told, is_alive, job, pids, starts, wait_until

from vgg_cifar.errors import STOPPING
from vgg_cifar.runs.lock import Lock
from vgg_cifar.sweeps import running
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.process import LAST_LINES

When = Callable[[Callable[[], object], Callable[[], object]], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SECONDS_BETWEEN_TRIES", 0.1)


def status(of: Job) -> str:
    return str(of.folder.read_result().get("status"))


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def test_every_job_is_run_once_in_its_folder(tmp_path: Path) -> None:
    jobs = [job(tmp_path, number) for number in range(5)]
    told = Told(jobs)
    assert told.code == 0
    assert [starts(each) for each in jobs] == [[0]] * 5
    assert {status(each) for each in jobs} == {"finished"}
    assert told.lines[0] == "sweep test: 5 jobs"
    assert told.line("job 3 starts") == "job 3 starts: seed=3"
    assert told.line("job 3 finished").startswith("job 3 finished in , val top1 30.0%; ")
    assert told.lines[-1] == "sweep test: 5 of 5 finished"


def test_what_is_finished_is_left_as_it_is(tmp_path: Path) -> None:
    jobs = [job(tmp_path, number) for number in range(3)]
    Told(jobs[:2])
    before = [each.output.stat().st_mtime_ns for each in jobs[:2]]
    told = Told(jobs)
    assert told.code == 0
    assert told.lines[0] == "sweep test: 3 jobs (2 finished before)"
    assert [starts(each) for each in jobs] == [[0]] * 3
    assert [each.output.stat().st_mtime_ns for each in jobs[:2]] == before


def test_not_more_run_at_a_time_than_there_is_room_for(tmp_path: Path, when: When) -> None:
    gate = tmp_path / "gate"
    jobs = [job(tmp_path, number, f"gate={gate}") for number in range(4)]
    seen: list[int] = []

    def look() -> None:
        seen.append(sum(bool(starts(each)) for each in jobs))
        gate.touch()

    when(lambda: starts(jobs[0]) and starts(jobs[1]), look)
    assert Told(jobs, at_a_time=2).code == 0
    assert seen == [2]


FAILURES = {
    "raise": "epoch 1 cannot be",
    "mistake": "model.weights: there is no such file",
    "vanish": "it ended with exit code 0 and left no finished result",
    "die": "it was killed by SIGKILL, perhaps because memory ran out",
}


@pytest.mark.parametrize(("does", "reason"), FAILURES.items(), ids=FAILURES)
def test_a_failed_job_is_named_with_its_reason_and_the_others_go_on(tmp_path: Path, does: str, reason: str) -> None:
    jobs = [job(tmp_path, 0), job(tmp_path, 1, f"does={does}", "says=one|two|three"), job(tmp_path, 2)]
    told = Told(jobs, at_a_time=1)
    assert told.code == 1
    place = told.lines.index(told.line("job 1 failed"))
    assert told.lines[place] == f"job 1 failed after : {reason}"
    assert told.lines[place + 1] == f"  | does={does} says=one|two|three seed=1"
    assert told.lines[place + 2 : place + 6] == ["  | one", "  | two", "  | three", f"  | {jobs[1].output}"]
    assert place < told.lines.index(told.line("job 2 starts"))
    assert told.lines[-1] == "sweep test: 2 of 3 finished, 1 failed; the same command goes on"
    assert [status(each) for each in jobs] == ["finished", "failed", "finished"]
    assert jobs[1].folder.read_result()["error"] == reason


def test_a_failed_job_is_tried_again_where_it_was_and_may_fail_otherwise(tmp_path: Path) -> None:
    Told([job(tmp_path, 0, "does=raise", "at=2")])
    again = Told([job(tmp_path, 0, "does=die", "at=2")])
    assert again.lines[0] == "sweep test: 1 jobs (1 to go on with)"
    assert "killed by SIGKILL" in again.line("job 0 failed")
    good = job(tmp_path, 0)
    assert Told([good]).code == 0
    assert starts(good) == [0, 2, 2]
    result = good.folder.read_result()
    assert result["status"] == "finished"
    assert "error" not in result


def test_a_job_that_is_killed_after_its_result_is_finished(tmp_path: Path) -> None:
    assert Told([job(tmp_path, 0, "does=die late")]).code == 0


def test_the_last_lines_are_shown_without_what_a_terminal_would_obey(tmp_path: Path) -> None:
    says = "|".join(["word" * 10] * 50_000 + ["\x1b]0;title\x07\x1b[2Jclear", "\tlast\r"])
    told = Told([job(tmp_path, 0, "does=write", f"says={says[-60_000:]}", "does=raise")])
    shown = [line for line in told.lines if line.startswith("  | ")]
    assert len(shown) == LAST_LINES + 2  # the job's own overrides, what it wrote last, where to read on
    assert shown[-2] == "  | last"
    assert shown[-3] == "  | ]0;title[2Jclear"
    assert all(each.isprintable() for line in told.lines[:2] + told.lines[-15:] for each in line)


def test_the_first_failure_stops_the_others_if_that_is_wished(tmp_path: Path, when: When) -> None:
    waits, gate = job(tmp_path, 0, f"gate={tmp_path}/never"), tmp_path / "gate"
    jobs = [waits, job(tmp_path, 1, "does=raise", "at=3", f"gate={gate}"), job(tmp_path, 2)]
    when(lambda: starts(waits) and waits.folder.read_result().get("epochs") == 2, gate.touch)
    told = Told(jobs, stop_at_failure=True)
    assert told.code == 1
    assert told.line("job 1 failed: stopping").endswith(
        "; 1 running save their step first (once more: end them at once)"
    )
    assert told.lines[-1] == "sweep test: 0 of 3 finished, 1 failed, 1 interrupted, 1 queued; the same command goes on"
    assert starts(jobs[2]) == []
    assert status(waits) == "interrupted"
    (tmp_path / "never").touch()
    assert Told([waits, job(tmp_path, 1), jobs[2]]).code == 0
    assert starts(waits) == [0, 2]


@pytest.fixture
def heard() -> Iterator[None]:
    """No signal is ignored, as SIGHUP is where the tests themselves run behind nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_stops_all_and_they_go_on_later(tmp_path: Path, when: When, number: signal.Signals) -> None:
    jobs = [job(tmp_path, each, f"gate={tmp_path}/gate") for each in range(3)]
    before = [signal.getsignal(each) for each in STOPPING]
    when(lambda: all(each.folder.read_result().get("epochs") == 2 for each in jobs[:2]), send(number))
    told = Told(jobs)
    assert told.code == 75
    assert told.line(f"{number.name}: stopping").endswith(
        "2 running save their step first (once more: end them at once)"
    )
    assert told.lines[-1] == "sweep test: 0 of 3 finished, 2 interrupted, 1 queued; the same command goes on"
    assert [status(each) for each in jobs[:2]] == ["interrupted"] * 2
    assert [signal.getsignal(each) for each in STOPPING] == before
    (tmp_path / "gate").touch()
    told = Told(jobs)
    assert told.code == 0
    assert told.lines[0] == "sweep test: 3 jobs (2 to go on with)"
    assert told.line("job 0 goes on") == "job 0 goes on: seed=0"
    assert [starts(each) for each in jobs] == [[0, 2], [0, 2], [0]]


def test_a_second_signal_ends_even_what_does_not_hear_the_first(tmp_path: Path, when: When) -> None:
    stalls = job(tmp_path, 0, "does=stall", f"gate={tmp_path}/never")
    when(lambda: stalls.folder.read_result().get("epochs") == 2, send(signal.SIGTERM))
    # The first is known to be obeyed when no further job would be started: then comes the second.
    when(
        lambda: stalls.folder.read_result().get("epochs") == 2,
        lambda: (threading.Event().wait(0.6), send(signal.SIGINT)()),
    )
    assert Told([stalls]).code == 75
    assert not any(is_alive(pid) for pid in pids(stalls))
    assert status(stalls) == "interrupted"


def test_a_hangup_that_is_to_be_ignored_stays_so(tmp_path: Path, when: When) -> None:
    waits = job(tmp_path, 0, f"gate={tmp_path}/gate")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        when(lambda: starts(waits), lambda: (send(signal.SIGHUP)(), (tmp_path / "gate").touch()))
        assert Told([waits]).code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_a_dead_job_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    dies = job(tmp_path, 0, "does=die", "ranks=1")
    assert Told([dies]).code == 1
    rank = int((dies.path / "rank.txt").read_text())
    wait_until(lambda: not is_alive(rank))


def test_jobs_die_with_a_killed_sweep_and_the_same_command_finishes_them(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    told = [[], [f"gate={gate}", "does=stall"], [], [f"gate={gate}"], []]
    jobs = [job(tmp_path, number, *words) for number, words in enumerate(told)]
    elsewhere = Elsewhere(tmp_path, *told)
    wait_until(lambda: all(each.folder.read_result().get("epochs") == 2 for each in (jobs[1], jobs[3])))
    elsewhere.kill()
    wait_until(lambda: not any(is_alive(pid) for each in jobs for pid in pids(each)))
    assert [status(each) for each in jobs] == ["finished", "interrupted", "finished", "interrupted", "None"]
    gate.touch()
    assert Told(jobs).code == 0
    assert [starts(each) for each in jobs] == [[0], [0, 2], [0], [0, 2], [0]]


def test_two_processes_share_a_sweep_and_run_no_job_twice(tmp_path: Path) -> None:
    told = [[f"gate={tmp_path}/gate"], *([] for _ in range(9))]
    jobs = [job(tmp_path, number, *words) for number, words in enumerate(told)]
    elsewhere = Elsewhere(tmp_path, *told)
    wait_until(lambda: starts(jobs[0]))
    # It cannot finish before both have come to the same jobs.
    opener = threading.Thread(target=lambda: (wait_until(lambda: all(map(starts, jobs))), (tmp_path / "gate").touch()))
    opener.start()
    here = Told(jobs)
    opener.join()
    code, said = elsewhere.ended()
    assert (here.code, code) == (0, 0), said
    assert here.line("job 0 is run by another process")
    assert here.lines[-1] == "sweep test: 10 of 10 finished"
    assert "sweep test: 10 of 10 finished" in said
    assert [starts(each) for each in jobs] == [[0]] * 10


def test_what_another_process_leaves_when_it_dies_is_taken_over(tmp_path: Path, when: When) -> None:
    gate = tmp_path / "gate"
    jobs = [job(tmp_path, 0, f"gate={gate}"), job(tmp_path, 1)]
    elsewhere = Elsewhere(tmp_path, [f"gate={gate}"], [])
    wait_until(lambda: jobs[0].folder.read_result().get("epochs") == 2)
    # Ours has seen that somebody else runs job 0 when it has nothing else to do.
    when(lambda: status(jobs[1]) == "finished", lambda: (threading.Event().wait(1), elsewhere.kill(), gate.touch()))
    told = Told(jobs)
    assert told.code == 0
    assert (
        told.line("job 0 is run by another process") == "job 0 is run by another process: gate=" + str(gate) + " seed=0"
    )
    assert starts(jobs[0]) == [0, 2]
    assert starts(jobs[1]) == [0]


def test_what_fails_elsewhere_has_failed(tmp_path: Path, when: When) -> None:
    gate = tmp_path / "gate"
    words = ["does=raise", "at=3", f"gate={gate}"]
    fails = job(tmp_path, 0, *words)
    elsewhere = Elsewhere(tmp_path, words)
    wait_until(lambda: starts(fails))
    when((tmp_path / "1" / "starts.txt").exists, gate.touch)  # ours has seen by then who runs job 0
    told = Told([fails, job(tmp_path, 1)])
    assert told.code == 1
    assert told.line("job 0 failed") == "job 0 failed after : epoch 3 cannot be (run by another process)"
    assert elsewhere.ended()[0] == 1
    assert starts(fails) == [0]


def test_a_run_that_somebody_started_by_hand_is_left_alone(tmp_path: Path, when: When) -> None:
    taken = job(tmp_path, 0)
    taken.path.mkdir(parents=True)
    by_hand = Lock(taken.path / ".lock")
    assert by_hand.take()
    when((tmp_path / "1" / "starts.txt").exists, by_hand.release)
    told = Told([taken, job(tmp_path, 1)])
    assert told.code == 0
    assert told.line("job 0 is run by another process")
    assert starts(taken) == [0]


HOSTILE = {
    "link": lambda folder: (folder / "output.txt").symlink_to(folder.parent / "precious"),
    "pipe": lambda folder: os.mkfifo(folder / "output.txt"),
    "folder": lambda folder: (folder / "output.txt").mkdir(),
    "claim": lambda folder: (folder / ".claim").symlink_to(folder.parent / "precious"),
    "damaged": lambda folder: (folder / "result.json").write_text("{"),
    "half a character": lambda folder: (folder / "result.json").write_text('{"error": "", "a": "\\ud800"}'),
    "deep": lambda folder: (folder / "result.json").write_text('{"error": "", "a": ' + "[" * 990 + "]" * 990 + "}"),
}


@pytest.mark.parametrize("lay", HOSTILE.values(), ids=HOSTILE)
def test_what_somebody_laid_in_a_jobs_folder_fails_that_job_alone(
    tmp_path: Path, lay: Callable[[Path], object]
) -> None:
    (tmp_path / "precious").write_text("words")
    jobs = [job(tmp_path, 0), job(tmp_path, 1)]
    jobs[0].path.mkdir()
    lay(jobs[0].path)
    told = Told(jobs)
    assert told.code == 1
    assert "\n" not in told.line("job 0 failed")
    assert starts(jobs[0]) == []
    assert starts(jobs[1]) == [0]
    assert (tmp_path / "precious").read_text() == "words"


def test_a_folder_that_cannot_be_made_fails_its_job_alone(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("a file")
    told = Told([job(tmp_path, 0), job(tmp_path, 1)])
    assert told.code == 1
    assert "File exists" in told.line("job 0 failed")
    assert starts(job(tmp_path, 1)) == [0]


@pytest.mark.usefixtures("heard")
def test_a_terminal_that_is_gone_does_not_keep_jobs_from_saving(
    tmp_path: Path, when: When, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [job(tmp_path, number, f"gate={tmp_path}/gate") for number in range(2)]
    closed: list[bool] = []

    def write(self: object, text: str) -> int:
        if closed:
            raise OSError("Input/output error")
        return len(text)

    monkeypatch.setattr(io, "StringIO", type("Terminal", (io.StringIO,), {"write": write}))

    def close() -> None:
        closed.append(True)
        os.kill(os.getpid(), signal.SIGHUP)

    when(lambda: all(starts(each) for each in jobs), close)
    assert Told(jobs).code == 75
    assert {status(each) for each in jobs} == {"interrupted"}
