"""How many jobs run at a time on this machine, and which GPUs or threads each has."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from vgg_cifar.config import Config
from vgg_cifar.errors import UserError


class Share(NamedTuple):
    """What a job has of the machine while it runs.

    Attributes:
        gpus: as CUDA_VISIBLE_DEVICES would name them; none for a job on the CPU.
        environment: variables that keep the job to its share.
    """

    gpus: tuple[str, ...]
    environment: dict[str, str]


@dataclass
class Slots:
    """What this machine has, and how much of it is taken.

    Attributes:
        gpus: as CUDA_VISIBLE_DEVICES names them.
        threads: of the CPU, for all jobs together.
        jobs: at a time; None: one per GPU, one on the CPU.
    """

    gpus: list[str]
    threads: int
    jobs: int | None
    _taken: list[Share] = field(default_factory=list)

    @classmethod
    def of_this_machine(cls, jobs: int | None) -> Slots:
        """The GPUs that torch sees, and the threads that this process may use."""
        import torch

        count = torch.cuda.device_count()
        named = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
        threads = os.environ.get("OMP_NUM_THREADS", "")
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cls(
            gpus=named[:count] or [str(index) for index in range(count)],
            threads=int(threads) if threads.isdigit() and int(threads) else allowed,
            jobs=jobs,
        )

    def refuse_what_never_fits(self, config: Config) -> None:
        """Refuse a job that this machine could not run if it ran nothing else.

        Raises:
            UserError: naming the option.
        """
        from vgg_cifar import hardware

        if config.trainer.num_nodes != 1:
            raise UserError(
                "trainer.num_nodes: the jobs of a sweep run on this machine; have them run on a cluster's with "
                "hydra/launcher=slurm, or start such a run by itself"
            )
        hardware.accelerator(config.trainer.accelerator)
        wanted = self._gpus_wanted(config)
        if wanted > len(self.gpus):
            raise UserError(f"trainer.devices: {wanted} GPUs are asked for, this machine has {len(self.gpus)}")

    def take(self, config: Config) -> Share | None:
        """A share for this job, or None if what is left is too little for it."""
        if self.jobs is not None and len(self._taken) >= self.jobs:
            return None
        wanted = self._gpus_wanted(config)
        share = self._of_the_gpus(wanted) if wanted else self._of_the_cpu(config)
        if share is not None:
            self._taken.append(share)
        return share

    def give_back(self, share: Share) -> None:
        """The job has ended."""
        self._taken.remove(share)

    def _gpus_wanted(self, config: Config) -> int:
        if config.trainer.accelerator in ("cpu", "mps") or not self.gpus:
            return 0
        return len(self.gpus) if config.trainer.devices == "auto" else config.trainer.devices

    def _of_the_gpus(self, wanted: int) -> Share | None:
        """The least busy ones."""
        most = max(1, math.ceil((self.jobs or 0) / len(self.gpus)))
        load = Counter(gpu for share in self._taken for gpu in share.gpus)
        free = sorted((gpu for gpu in self.gpus if load[gpu] < most), key=lambda gpu: load[gpu])[:wanted]
        if len(free) < wanted:
            return None
        return Share(tuple(free), {"CUDA_VISIBLE_DEVICES": ",".join(free)})

    def _of_the_cpu(self, config: Config) -> Share | None:
        """Its part of the threads; a job that has them all is started as a single run is, which finds them itself."""
        most = self.jobs or 1
        if sum(not share.gpus for share in self._taken) >= most:
            return None
        if most == 1:
            return Share((), {})
        ranks = 1 if config.trainer.devices == "auto" else config.trainer.devices
        return Share((), {"OMP_NUM_THREADS": str(max(1, self.threads // most // ranks))})
