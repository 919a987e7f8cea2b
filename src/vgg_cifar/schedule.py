"""The `schedule` group: the learning rate at each step, as a pure function of how far the run has come.

All lengths are fractions of the whole run: a schedule keeps its shape when the number of epochs changes, and a run that
is resumed to more epochs follows the longer schedule from where it stands.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vgg_cifar.options import Fraction, Options


class _Schedule(Options):
    warmup: Fraction
    """Fraction of the run in which the rate climbs evenly from near zero to `optimizer.lr`."""

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
    milestones: list[Fraction]
    """When the rate drops, as fractions of the run, ascending."""
    gamma: Annotated[float, Field(gt=0, le=1)]
    """What the rate is multiplied by at each milestone."""

    @model_validator(mode="after")
    def _ascending(self) -> MultiStep:
        if self.milestones != sorted(self.milestones):
            raise ValueError(f"schedule.milestones should ascend, is {self.milestones}")
        return self

    def after_warmup(self, progress: float, run: float) -> float:
        """`gamma` to the power of the milestones passed."""
        return self.gamma ** sum(run >= milestone for milestone in self.milestones)


ScheduleOptions = Annotated[Constant | Cosine | OneCycle | MultiStep, Field(discriminator="name")]
