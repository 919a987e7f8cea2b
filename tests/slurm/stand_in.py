"""What SLURM's commands do, as far as sweeps need them: scripts really run, are signalled, queue again and are ended.

`stand_in.py COMMAND ...` is sbatch, srun, squeue, scancel, scontrol or sacct. The queue is the folder $STAND_IN; each
job has a folder in it, and a process (`supervise`) that runs its script. A minute of a time limit has $STAND_IN_MINUTE
seconds.

Tests change how it behaves by files. In the queue's folder:

    closed      nothing starts
    down        the controller does not answer
    accounting  sacct answers, and squeue has forgotten all that has ended

In a job's folder:

    warn        the job is told that its time limit is near
    ends_as     with a state, like NODE_FAIL: it ends so at once
    forgotten   nobody knows it any more

`calls.txt` has a line for each command that was called.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

QUEUE = Path(os.environ.get("STAND_IN", "nowhere"))
MINUTE = float(os.environ.get("STAND_IN_MINUTE", "60"))
KILL_WAIT = 2.0
"""Seconds between SIGTERM and SIGKILL."""
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")


def put(path: Path, text: object) -> None:
    """Replace a file at once."""
    beside = path.with_suffix(".new")
    beside.write_text(str(text))
    beside.replace(path)


def complain(text: str, code: int = 1) -> int:
    """On standard error."""
    print(text, file=sys.stderr)
    return code


def known() -> list[Path]:
    """The folders of the jobs that are remembered, in their order."""
    folders = sorted((path for path in QUEUE.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    return [path for path in folders if (path / "state").exists() and not (path / "forgotten").exists()]


def state(job: Path) -> str:
    return (job / "state").read_text()


def sbatch(words: list[str]) -> int:
    """Put a script into the queue."""
    lines = Path(words[-1]).read_text()
    given = [word for line in lines.splitlines() if line.startswith("#SBATCH ") for word in shlex.split(line[8:])]
    options = dict(word.removeprefix("--").partition("=")[::2] for word in given)
    if (QUEUE / "down").exists():
        return complain("sbatch: error: Batch job submission failed: Unable to contact slurm controller")
    if options.get("partition", "work") != "work":
        print(f"sbatch: error: invalid partition specified: {options['partition']}", file=sys.stderr)
        return complain("sbatch: error: Batch job submission failed: Invalid partition name specified")
    number = 100
    while True:
        job = QUEUE / str(number)
        with suppress(FileExistsError):
            job.mkdir()
            break
        number += 1
    put(job / "script", lines)
    put(job / "options", json.dumps(options))
    put(job / "state", "PENDING")
    subprocess.Popen(
        [sys.executable, "-S", "-E", __file__, "supervise", str(number)],
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=(job / "supervise.txt").open("w"),
    )  # fmt: skip
    print(number)
    return 0


def supervise(words: list[str]) -> int:
    """Run a job until it has ended for good."""
    job = QUEUE / words[0]
    options = json.loads((job / "options").read_text())
    put(job / "supervisor", os.getpid())
    restarts = 0
    while True:
        while (QUEUE / "closed").exists() and not (job / "cancel").exists():
            time.sleep(0.01)
        if (job / "cancel").exists():
            put(job / "state", "CANCELLED")
            return 0
        with suppress(FileNotFoundError):
            (job / "tasks").unlink()
        ended_as, code = attempt(job, options, restarts)
        if ended_as in ("COMPLETED", "FAILED") and (job / "requeue").exists():
            (job / "requeue").unlink()
            restarts += 1
            put(job / "state", "PENDING")
            continue
        put(job / "code", code)
        put(job / "state", ended_as)
        return 0


def attempt(job: Path, options: dict[str, str], restarts: int) -> tuple[str, int]:
    """Run a job's script once: the state it comes to, and the script's exit code."""
    tasks = options["ntasks-per-node"]
    variables = {
        "JOB_ID": job.name, "JOB_NAME": options["job-name"], "NTASKS": tasks, "NTASKS_PER_NODE": tasks, "NNODES": "1",
        "JOB_NODELIST": "here", "NODELIST": "here", "PROCID": "0", "LOCALID": "0", "NODEID": "0",
        **({"RESTART_COUNT": str(restarts)} if restarts else {}),
    }  # fmt: skip
    with Path(options["output"]).open("ab") as output:
        script = subprocess.Popen(
            ["bash", job / "script"], env=os.environ | {f"SLURM_{name}": value for name, value in variables.items()},
            start_new_session=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    put(job / "script_pid", script.pid)
    put(job / "state", "RUNNING")
    limit = time.monotonic() + float(options.get("time", "1e6")) * MINUTE
    to_whom, _, at = options["signal"].partition("@")
    assert to_whom == "B:USR2"
    warning: float | None = limit - float(at) * MINUTE / 60
    while script.poll() is None:
        if warning is not None and (time.monotonic() > warning or (job / "warn").exists()):
            (job / "warn").unlink(missing_ok=True)
            script.send_signal(signal.SIGUSR2)
            warning = None
        why = (
            (job / "ends_as").read_text() if (job / "ends_as").exists()
            else "CANCELLED" if (job / "cancel").exists()
            else "TIMEOUT" if time.monotonic() > limit
            else None
        )  # fmt: skip
        if why is not None:
            code = end(job, script, patience=0 if (job / "ends_as").exists() else KILL_WAIT)
            return why, code
        time.sleep(0.01)
    return ("FAILED" if script.returncode else "COMPLETED"), script.returncode


def end(job: Path, script: "subprocess.Popen[bytes]", patience: float) -> int:
    """End a script and its tasks: all hear SIGTERM, and some time later SIGKILL."""
    pids = [int(pid) for pid in (job / "tasks").read_text().split()] if (job / "tasks").exists() else []
    if patience:
        for pid in (*pids, script.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            script.wait(patience)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(script.pid, signal.SIGKILL)
    return script.wait()


def srun(words: list[str]) -> int:
    """Run a command as so many tasks; SIGTERM ends them at once, other signals are passed on."""
    options = []
    while words[0].startswith("--"):
        options.append(words.pop(0))
    assert {option.partition("=")[0] for option in options} <= {"--kill-on-bad-exit", "--wait", "--cpus-per-task"}
    early: list[int] = []
    signal.signal(signal.SIGUSR2, lambda number, _: early.append(number))
    environments = [
        os.environ | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        for rank in range(int(os.environ["SLURM_NTASKS"]))
    ]
    tasks = [subprocess.Popen(words, env=environment) for environment in environments]
    put(QUEUE / os.environ["SLURM_JOB_ID"] / "tasks", " ".join(str(task.pid) for task in tasks))
    for number in (signal.SIGUSR2, signal.SIGTERM):
        passed_on = signal.SIGKILL if number == signal.SIGTERM else number
        signal.signal(number, lambda *_, passed_on=passed_on: [task.send_signal(passed_on) for task in tasks])
    for each in early:
        os.kill(os.getpid(), each)
    codes = [task.wait() for task in tasks]
    return max(code if code >= 0 else 128 - code for code in codes)


def squeue(words: list[str]) -> int:
    """List the jobs."""
    assert words == ["--me", "--states=all", "--noheader", "--Format=JobID:|,State:|,exit_code:|,Name:200"]
    if (QUEUE / "down").exists():
        return complain("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    for job in known():
        if not ((QUEUE / "accounting").exists() and state(job) in ENDED):
            print(f"{job.name}|{state(job)}|{status(job)}|{name(job):200}")
    return 0


def sacct(words: list[str]) -> int:
    """List the jobs that were named, where there is accounting."""
    if not (QUEUE / "accounting").exists():
        return complain("Slurm accounting storage is disabled")
    named = words[-1].removeprefix("--jobs=").split(",")
    for job in known():
        if job.name in named:
            by = " by 0" if state(job) == "CANCELLED" else ""
            print(f"{job.name}|{state(job)}{by}|{status(job) >> 8}:{status(job) & 127}")
    return 0


def status(job: Path) -> int:
    """What wait(2) says of its script."""
    code = int((job / "code").read_text()) if (job / "code").exists() else 0
    return code << 8 if code >= 0 else -code


def name(job: Path) -> str:
    return str(json.loads((job / "options").read_text())["job-name"])


def scancel(words: list[str]) -> int:
    """End jobs, or signal their scripts."""
    options = [word for word in words if word.startswith("-")]
    assert options in ([], ["--state=PENDING"], ["--batch", "--signal=TERM"])
    code = 0
    if (QUEUE / "down").exists():
        return complain("scancel: error: Unable to contact slurm controller (connect failure)")
    for job in (QUEUE / word for word in words if word not in options):
        if state(job) in ENDED or (options == ["--state=PENDING"] and state(job) != "PENDING"):
            continue
        if options == ["--batch", "--signal=TERM"]:
            if state(job) == "PENDING":
                code = complain(f"scancel: error: Kill job error on job id {job.name}: Job is pending execution")
            else:
                os.kill(int((job / "script_pid").read_text()), signal.SIGTERM)
        else:
            put(job / "cancel", "")
    return code


def scontrol(words: list[str]) -> int:
    """Only `scontrol requeue NUMBER`, from the job's own script."""
    assert words[0] == "requeue"
    put(QUEUE / words[1] / "requeue", "")
    return 0


if __name__ == "__main__":
    called, arguments = sys.argv[1], sys.argv[2:]
    if called != "supervise":
        with (QUEUE / "calls.txt").open("a") as calls:
            calls.write(f"{called} {' '.join(arguments)}\n")
    commands = {
        "sbatch": sbatch, "srun": srun, "squeue": squeue, "scancel": scancel, "scontrol": scontrol, "sacct": sacct,
        "supervise": supervise,
    }  # fmt: skip
    sys.exit(commands[called](arguments))
