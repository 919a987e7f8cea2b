"""A real SLURM of one machine, on its loopback interface: munged, slurmctld and slurmd, ended by who starts them."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
PATIENCE = 60
"""Seconds that the daemons may take until a job can be submitted."""

CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
PlugStackConfig={folder}/plugstack.conf
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=5
MinJobAge=600
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=work Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why there can be no such cluster here."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    absent = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=path) is None]
    if absent:
        return f"SLURM is not installed here: there is no {absent[0]} (Debian: slurm-wlm, munge)"
    return None if os.geteuid() == 0 else "a slurmd that starts jobs has to be root's"


class Cluster:
    """One machine.

    Attributes:
        folder: of its files and logs.
        environment: what its clients need to find it.
        epochs: of a tiny run that is long enough for it to notice that a time limit is near.
    """

    epochs = 150

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": f"{folder}/slurm.conf"}
        self._processes: list[subprocess.Popen[bytes]] = []
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        (folder / "plugstack.conf").touch()
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        text = CONFIGURATION.format(host=socket.gethostname().partition(".")[0], ports=_free_ports(2), folder=folder)
        (folder / "slurm.conf").write_text(text)

    def __enter__(self) -> "Cluster":
        try:
            self._start(
                "munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket",
                f"--key-file={self.folder}/munge.key", f"--pid-file={self.folder}/munged.pid",
                f"--seed-file={self.folder}/munged.seed", f"--log-file={self.folder}/munged.log",
            )  # fmt: skip
            self._wait_for((self.folder / "munge.socket").exists)
            self.start_controller()
            self._start("slurmd", "-D", "-f", f"{self.folder}/slurm.conf")
            self._wait_for(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all, the last first."""
        self.ask("scancel", "--me")
        deadline = time.monotonic() + PATIENCE
        while self.ask("squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.5)
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start_controller(self) -> None:
        """Start slurmctld, which may have been stopped."""
        self.controller = self._start("slurmctld", "-D", "-f", f"{self.folder}/slurm.conf")

    def ask(self, *command: str) -> str:
        """What one of SLURM's clients answers."""
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        return done.stdout.strip()

    def states(self) -> list[str]:
        """How the jobs that were ever submitted stand, in their order."""
        return self.ask("squeue", "--states=all", "--noheader", "--sort=i", "--format=%T").split()

    def time_is_up(self) -> None:
        """Bring the newest job's time limit so near that it is told."""
        number = self._newest()
        elapsed = self.ask("squeue", "--noheader", f"--jobs={number}", "--format=%M").split(":")
        self.ask("scontrol", "update", f"JobId={number}", f"TimeLimit={int(elapsed[-2]) + 2}")

    def begins_again(self) -> None:
        """Give it time enough. SLURM lets it wait two minutes: a machine refuses a job that has just ended there."""
        self.ask("scontrol", "update", f"JobId={self._newest()}", "TimeLimit=60")

    def _newest(self) -> str:
        return self.ask("squeue", "--states=all", "--noheader", "--sort=-i", "--format=%A").split()[0]

    def _start(self, *command: str) -> "subprocess.Popen[bytes]":
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        with (self.folder / "daemons.txt").open("ab") as output:
            process = subprocess.Popen(
                [shutil.which(command[0], path=path) or command[0], *command[1:]],
                env=os.environ | self.environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def _wait_for(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            dead = [process.args for process in self._processes if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = [path.read_text(errors="replace")[-2000:] for path in sorted(self.folder.glob("*.log"))]
                raise RuntimeError("SLURM does not start: " + "\n".join([str(dead), *logs]))
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
