"""Distributed data parallel that leaves alone what does not matter, and on one machine never leaves the machine."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch import distributed
from torch.distributed import Store, TCPStore, destroy_process_group, init_process_group, is_initialized  # type: ignore[attr-defined]

from vgg_cifar import meeting
from vgg_cifar.errors import FAILED, INTERRUPTED, RunError, first_line

LOOPBACK = "127.0.0.1"
PATIENCE = timedelta(minutes=10)
"""How long ranks wait for each other before they begin."""
LOOKS_PER_SECOND = 4
GRACE_SECONDS = {FAILED: 5, INTERRUPTED: 20}
"""Time that a process has, after another has ended so, to end by itself; an agreed end first has to be saved."""


class Loss(NamedTuple):
    """Why another rank is not there any more, and the exit code that the run has for it."""

    reason: str
    code: int


class DDP(DDPStrategy):
    """Lightning's DDP without a broadcast of buffers at every step: the classifier shares them before evaluations.

    On a single machine all connections between the ranks use the loopback interface. Gloo and NCCL are told so by their
    variables; torch's own store would listen on every interface, so the ranks that Lightning starts get one that does
    not. (Ranks of torchrun and SLURM use the one that these name.)
    """

    def __init__(self, *, one_machine: bool) -> None:
        super().__init__(broadcast_buffers=False, gradient_as_bucket_view=True)
        self.one_machine = one_machine
        self._store: Store | None = None
        self.when_lost: Callable[[Loss], None] = lambda loss: print(loss.reason, file=sys.stderr)
        """Told of another rank that is not there any more, before this process ends too."""

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)
        self._launcher.strategy = self

    def meet(self, facts: Callable[[], dict[str, Any]]) -> None:
        """Where a launcher started the ranks, wait for all of them, and see that they are about to do the same.

        Args:
            facts: tells, once all are here, what this rank is about to do; see `meeting.agree`.

        Raises:
            UserError: if one of them is not.
            RunError: if one does not come.
        """
        environment = self.cluster_environment
        assert environment is not None
        rank, ranks = environment.global_rank(), environment.world_size()
        if isinstance(environment, LightningEnvironment) or ranks == 1:
            return  # rank 0 starts the others later, by its own command
        by_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        address, port = environment.main_address, environment.main_port
        try:
            if self.one_machine and not by_agent:
                address = LOOPBACK
                store = _store_on_loopback(port, rank, ranks, wait_for_workers=False)
            else:
                is_master = rank == 0 and not by_agent
                store = TCPStore(address, port, ranks, is_master, timeout=PATIENCE, wait_for_workers=False)
            self._store = meeting.meet(store, rank, ranks, PATIENCE.total_seconds())
            abroad = meeting.agree(self._store, rank, ranks, facts(), address, PATIENCE.total_seconds())
        except RuntimeError as error:  # torch's word for a connection that fails
            raise RunError(f"rank 0 does not answer at {address}, port {port}: {first_line(error)}") from error
        interface = meeting.interface_towards(abroad) if abroad is not None else None
        if interface is not None:  # by itself gloo takes what this machine's name leads to, which may be loopback
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)

    def setup_distributed(self) -> None:
        """Connect the ranks."""
        if self.one_machine:
            interface = "lo0" if sys.platform == "darwin" else "lo"
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
        if not is_initialized():
            self.set_world_ranks()
            if self.one_machine and isinstance(self.cluster_environment, LightningEnvironment):
                port = self.cluster_environment.main_port
                self._connect(_store_on_loopback(port, self.global_rank, self.world_size))
            elif self._store is not None:
                self._connect(self._store)
        super().setup_distributed()

    def _connect(self, store: Store) -> None:
        backend = self._get_process_group_backend()
        init_process_group(
            backend,
            store=store,
            timeout=self._timeout,
            rank=self.global_rank,
            world_size=self.world_size,
            device_id=self.root_device if self.root_device.type != "cpu" else None,
        )
        if backend == "nccl":
            atexit.register(disconnect)


def disconnect() -> None:
    """Forget the other ranks, which are done: what follows in this process is for itself."""
    if is_initialized():
        destroy_process_group()


def _store_on_loopback(port: int, rank: int, ranks: int, *, wait_for_workers: bool = True) -> Store:
    """By itself, rank 0's would listen on every interface."""
    listening = socket.create_server((LOOPBACK, port)).detach() if rank == 0 else None
    told: dict[str, Any] = {"timeout": PATIENCE, "wait_for_workers": wait_for_workers, "master_listen_fd": listening}
    return TCPStore(LOOPBACK, port, ranks, rank == 0, **told)


class Launcher(_SubprocessScriptLauncher):
    """Lightning's launcher of the other ranks, whose watch says what happened before it ends the run.

    Attributes:
        lost: what became of another rank that is not there any more.
    """

    strategy: DDP
    lost: Loss | None = None
    _watching = True

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Start the other ranks, or watch the process that started this one, and call the function."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            self._watch(lambda: _fate(self.procs))
        elif self.procs:
            pass  # started for an earlier stage
        elif isinstance(self.cluster_environment, LightningEnvironment):
            parent = os.getppid()
            self._watch(lambda: None if os.getppid() == parent else Loss("rank 0 is gone", FAILED))
        _set_num_threads_if_needed(self.num_processes)
        return function(*args, **kwargs)

    def stop_watching(self) -> None:
        """Let the other ranks end as they like."""
        self._watching = False

    def wait_for_loss(self, seconds: float = 1.0) -> Loss | None:
        """What became of another rank, if it turns out within some time that it is not there any more."""
        until = time.monotonic() + seconds
        while self.lost is None and time.monotonic() < until:
            time.sleep(1 / LOOKS_PER_SECOND)
        return self.lost

    def _watch(self, look: Callable[[], Loss | None]) -> None:
        def watch() -> None:
            while self._watching and self.lost is None:
                time.sleep(1 / LOOKS_PER_SECOND)
                self.lost = look()
            if self.lost is not None:
                time.sleep(GRACE_SECONDS[self.lost.code])  # a collective call fails, or hangs for good
            if self._watching and self.lost is not None:
                self.strategy.when_lost(self.lost)
                self.kill(signal.SIGKILL)
                os._exit(self.lost.code)

        threading.Thread(target=watch, name="watch over the other ranks", daemon=True).start()


def _fate(ranks: list[subprocess.Popen[bytes]]) -> Loss | None:
    """What became of the first of these processes that did not end well, the first being rank 1."""
    for rank, process in enumerate(ranks, start=1):
        code = process.poll()
        if code:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            return Loss(f"rank {rank} (process {process.pid}) {how}", INTERRUPTED if code == INTERRUPTED else FAILED)
    return None


class Consensus:
    """Lets all ranks do the same at the same step, though only one may know of the reason.

    What a rank wishes for is sent beside the next step and read after that: nobody waits for anybody, and a GPU is not
    asked anything.
    """

    def __init__(self) -> None:
        self._group: Any = None
        self._sent: tuple[distributed.Work, torch.Tensor] | None = None

    def reached(self, wish: Callable[[], int]) -> int:
        """What is to be done now, by all: the largest wish of a turn before, or of this one where there is one rank.

        Args:
            wish: tells what this rank would do, 0 for nothing. All ranks have to call this method equally often.
        """
        if not is_initialized() or distributed.get_world_size() == 1:
            return wish()
        if self._group is None:  # all ranks make it together: the first call waits
            self._group = distributed.new_group(backend="gloo")
        reached = 0
        if self._sent is not None:
            work, largest = self._sent
            work.wait()
            reached = int(largest)
        largest = torch.tensor(0 if reached else wish())
        work = distributed.all_reduce(largest, distributed.ReduceOp.MAX, self._group, async_op=True)
        assert work is not None
        self._sent = work, largest
        return reached
