"""The batch script of a sweep's job in SLURM: what it asks for, and what a person would type."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from vgg_cifar import standalone
from vgg_cifar.errors import INTERRUPTED
from vgg_cifar.options import quoted
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.options import SlurmOptions

LONGEST_NAME = 80
SECONDS_FOR_THE_LAST_RANK = 120
"""That a job's ranks may go on after the first of them has ended, before SLURM ends them."""


def name(job: Job) -> str:
    """By which a job is found again: its own, wherever it was submitted."""
    sweep = re.sub(r"[^\w.-]", "_", job.path.parent.name, flags=re.ASCII)[:LONGEST_NAME]
    return f"{sweep}-{job.number}-{hashlib.sha256(os.fsencode(job.path.resolve())).hexdigest()[:8]}"


def script(job: Job, options: SlurmOptions, where: Path) -> str:
    """The batch script of a job.

    Args:
        job: which.
        options: of the launcher.
        where: the folder in which the sweep was typed.
    """
    one_machine = job.config.trainer.num_nodes == 1
    variables = {
        "PYTHONUNBUFFERED": "1",
        **({"OMP_NUM_THREADS": str(options.cpus_per_task)} if options.cpus_per_task is not None else {}),
        **({"MASTER_ADDR": "127.0.0.1"} if one_machine else {}),
    }
    return SCRIPT.format(
        options="\n".join(f"#SBATCH {each}" for each in _sbatch_options(job, options)),
        where=shlex.quote(str(where)),
        variables=" ".join(f"{each}={value}" for each, value in variables.items()),
        config=shlex.quote(str(job.folder.config)),
        cpus="" if options.cpus_per_task is None else f" --cpus-per-task={options.cpus_per_task}",
        wait=SECONDS_FOR_THE_LAST_RANK,
        command=shlex.join(standalone.command(job.overrides)),
        folder=re.sub(r'(["$`\\])', r"\\\1", quoted(str(job.path))),
        interrupted=INTERRUPTED,
        requeues=options.requeues,
    )


SCRIPT = """\
#!/bin/bash
# A job of a sweep. Written anew each time it is submitted; `sbatch job.sh`, typed in this folder, submits it by hand.
{options}

cd {where} || exit 1
export {variables}

# Whoever asks for an end asks this script: USR2 comes before the time limit, TERM from the sweep or with scancel.
# The run hears USR2 in both cases, saves its step and ends with {interrupted}.
asked= heard= step= told=
pass_on() {{ [ -z "$step" ] || [ -n "$told" ] || {{ told=1; kill -USR2 "$step"; }}; }} # once: twice means at once
ask() {{ heard=1; [ "$asked" = to-stop ] || asked=$1; pass_on; }}
trap 'ask to-queue-again' USR2
trap 'ask to-stop' TERM

begin_or_go_on=hydra.run.dir
[ -f {config} ] && begin_or_go_on=resume
echo "SLURM's job $SLURM_JOB_ID on $SLURM_JOB_NODELIST"
[ -z "$asked" ] || exit {interrupted}
srun --kill-on-bad-exit=0 --wait={wait}{cpus} \\
    {command} \\
    "$begin_or_go_on={folder}" &
step=$!
[ -z "$asked" ] || pass_on
heard=1
while [ -n "$heard" ]; do # a signal ends a wait, not the run
    heard=
    wait "$step"
    code=$?
done

case "$code $asked" in
    "{interrupted} to-stop") ;;
    {interrupted}\\ * | "140 to-queue-again") # 140: it had not begun to hear
        [ "${{SLURM_RESTART_COUNT:-0}}" -ge {requeues} ] || scontrol requeue "$SLURM_JOB_ID" ;;
esac
exit "$code"
"""


def _sbatch_options(job: Job, options: SlurmOptions) -> Iterator[str]:
    trainer = job.config.trainer
    tasks = 1 if trainer.devices == "auto" else trainer.devices
    gpus = None if trainer.accelerator == "cpu" else f"gpu:{tasks}"
    memory = None if options.mem_gb is None else f"{options.mem_gb}G"
    given = {
        "job-name": name(job), "output": "output.txt", "open-mode": "append", "nodes": trainer.num_nodes,
        "ntasks-per-node": tasks, "gres": gpus, "cpus-per-task": options.cpus_per_task, "mem": memory,
        "time": options.time, "signal": f"B:USR2@{options.signal_seconds}", "partition": options.partition,
        "account": options.account, "qos": options.qos, "constraint": options.constraint,
    }  # fmt: skip
    yield "--requeue"
    yield from (f"--{each}={value}" for each, value in given.items() if value is not None)
    yield from options.extra
