"""Distributed data parallel that leaves alone what does not matter, and on one machine never leaves the machine."""

from __future__ import annotations

import atexit
import os
import socket
import sys

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.distributed import TCPStore, destroy_process_group, init_process_group, is_initialized  # type: ignore[attr-defined]

LOOPBACK = "127.0.0.1"


class DDP(DDPStrategy):
    """Lightning's DDP without a broadcast of buffers at every step: the classifier shares them before evaluations.

    On a single machine all connections between the ranks use the loopback interface. Gloo and NCCL are told so by their
    variables; torch's own store would listen on every interface, so the ranks that Lightning starts get one that does
    not. (torchrun and SLURM bring a store of their own.)
    """

    def __init__(self, *, one_machine: bool) -> None:
        super().__init__(broadcast_buffers=False, gradient_as_bucket_view=True)
        self.one_machine = one_machine

    def setup_distributed(self) -> None:
        """Connect the ranks."""
        if self.one_machine:
            interface = "lo0" if sys.platform == "darwin" else "lo"
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
            if isinstance(self.cluster_environment, LightningEnvironment) and not is_initialized():
                self._connect_through_loopback(self.cluster_environment.main_port)
        super().setup_distributed()

    def _connect_through_loopback(self, port: int) -> None:
        self.set_world_ranks()
        backend = self._get_process_group_backend()
        listening = socket.create_server((LOOPBACK, port)).detach() if self.global_rank == 0 else None
        store = TCPStore(LOOPBACK, port, self.world_size, is_master=self.global_rank == 0, master_listen_fd=listening)
        init_process_group(
            backend,
            store=store,
            timeout=self._timeout,
            rank=self.global_rank,
            world_size=self.world_size,
            device_id=self.root_device if self.root_device.type != "cpu" else None,
        )
        if backend == "nccl":
            atexit.register(destroy_process_group)
