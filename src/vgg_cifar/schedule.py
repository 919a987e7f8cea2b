"""The `schedule` group: the learning rate at each step, as a pure function of how far the run has come.

All lengths are fractions of the whole run: a schedule keeps its shape when the number of epochs changes, and a run that
is resumed to more epochs follows the longer schedule from where it stands.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from vgg_cifar.custom import Custom
from vgg_cifar.options import Options, PartOfRun

if TYPE_CHECKING:
    from torch.optim import Optimizer


class _Schedule(Options):
    warmup: PartOfRun
    """Fraction of the run in which the rate climbs evenly from near zero to `optimizer.lr`."""

    def build(self, optimizer: Optimizer, total: int) -> dict[str, Any]:
        """What Lightning takes: the scheduler of an optimizer for a run of `total` steps, stepped at every one."""
        from torch.optim.lr_scheduler import LambdaLR

        return {"scheduler": LambdaLR(optimizer, lambda step: self.factor(step, total)), "interval": "step"}

    def rejoin(self, optimizer: Optimizer, step: int, total: int) -> None:
        """Set the rate to that of a step, so that a run that goes on to more steps leaves the old curve at once."""
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.factor(step, total)

    def factor(self, step: int, total: int) -> float:
        """What `optimizer.lr` is multiplied by.

        Args:
            step: the step about to be taken, from 0.
            total: steps of the whole run.

        Returns:
            A number in [0, 1].
        """
        climbing = round(self.warmup * total)
        if step < climbing:
            return (step + 1) / (climbing + 1)
        return self.after_warmup(min(1.0, (step - climbing) / max(1, total - climbing)), step / max(1, total))

    def after_warmup(self, progress: float, run: float) -> float:
        """The factor once warm.

        Args:
            progress: from 0 at the end of the warm-up to 1 at the end of the run.
            run: the same from the very beginning.
        """
        raise RuntimeError("each schedule defines its own")


class Constant(_Schedule):
    """The same rate throughout."""

    name: Literal["constant"]

    def after_warmup(self, progress: float, run: float) -> float:
        """Always 1."""
        return 1.0


class Cosine(_Schedule):
    """Half a cosine down to zero (Loshchilov & Hutter, 2017)."""

    name: Literal["cosine"]

    def after_warmup(self, progress: float, run: float) -> float:
        """From 1 to 0."""
        return 0.5 + 0.5 * math.cos(math.pi * progress)


class OneCycle(_Schedule):
    """A long climb, then a straight line down to zero (Smith & Topin, 2018)."""

    name: Literal["onecycle"]

    def after_warmup(self, progress: float, run: float) -> float:
        """From 1 to 0."""
        return 1.0 - progress


class MultiStep(_Schedule):
    """Steps down at given moments."""

    name: Literal["multistep"]
    milestones: list[PartOfRun]
    """When the rate drops, as fractions of the run, ascending."""
    gamma: Annotated[float, Field(gt=0, le=1)]
    """What the rate is multiplied by at each milestone."""

    @model_validator(mode="after")
    def _ascending(self) -> MultiStep:
        if self.milestones != sorted(self.milestones):
            raise ValueError(f"schedule.milestones: should ascend, is {self.milestones}")
        return self

    def after_warmup(self, progress: float, run: float) -> float:
        """`gamma` to the power of the milestones passed."""
        return self.gamma ** sum(run >= milestone for milestone in self.milestones)


class CustomSchedule(Custom):
    """Any class that derives from `torch.optim.lr_scheduler.LRScheduler`; its lengths are its own, not fractions."""

    group = "schedule"
    base = "torch.optim.lr_scheduler.LRScheduler"
    handed = ("optimizer",)
    interval: Literal["step", "epoch"]
    """How often it moves: after each optimizer step, or each epoch."""

    @model_validator(mode="after")
    def _can_be_made(self) -> CustomSchedule:
        import torch

        if issubclass(self._class, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise ValueError("schedule._target_: ReduceLROnPlateau waits for a metric, which is not handed to it")
        self.make(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1))
        return self

    def build(self, optimizer: Optimizer, total: int) -> dict[str, Any]:
        """What Lightning takes: the scheduler, and how often it moves."""
        return {"scheduler": self.make(optimizer), "interval": self.interval}

    def rejoin(self, optimizer: Optimizer, step: int, total: int) -> None:
        """The scheduler's own state says where the run stands."""


ScheduleOptions = Annotated[Constant | Cosine | OneCycle | MultiStep | CustomSchedule, Field(discriminator="name")]
