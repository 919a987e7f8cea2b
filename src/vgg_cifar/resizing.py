"""The `resizing` group: how large training images are, stage by stage of the run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vgg_cifar.options import Options, PartOfRun

Side = Annotated[int, Field(ge=16, le=64)]


class NoResizing(Options):
    """As large as they are."""

    name: Literal["none"]

    def last_stage(self) -> NoResizing:
        """What the run ends with."""
        return self


class ProgressiveResizing(Options):
    """Small images first: most of a run for a fraction of the arithmetic (Howard, 2018; Tan & Le, 2021)."""

    name: Literal["progressive"]
    sides: Annotated[list[Side], Field(min_length=1)]
    """Pixels on each side, 16 to 64, stage by stage. Evaluation is always on whole images, so 32 should come last."""
    milestones: list[PartOfRun]
    """When each next stage begins, as fractions of the run, ascending. The side changes between epochs."""

    @model_validator(mode="after")
    def _a_milestone_between_any_two_sides(self) -> ProgressiveResizing:
        if len(self.milestones) != len(self.sides) - 1:
            raise ValueError(
                f"resizing.milestones: {len(self.sides)} sides need {len(self.sides) - 1} of them, one where each next "
                f"side begins, there are {len(self.milestones)}"
            )
        if self.milestones != sorted(self.milestones):
            raise ValueError(f"resizing.milestones: should ascend, is {self.milestones}")
        return self

    def last_stage(self) -> ProgressiveResizing:
        """What the run ends with, for all of it."""
        return self.model_copy(update={"sides": self.sides[-1:], "milestones": []})

    def side(self, run: float) -> int:
        """The side of training images in pixels once this fraction of the run has passed."""
        return self.sides[sum(run >= milestone for milestone in self.milestones)]


ResizingOptions = Annotated[NoResizing | ProgressiveResizing, Field(discriminator="name")]
