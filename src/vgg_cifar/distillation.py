"""The `distillation` group: whether a network also learns from what runs trained before make of the same images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vgg_cifar.options import Options, Positive


class NoDistillation(Options):
    """Training images are what their labels say."""

    name: Literal["none"]


class SoftTargets(Options):
    """Teachers' probabilities as targets beside the labels (Hinton et al., 2015).

    Of networks of the same kind this is self-distillation: "Born-Again Neural Networks" (Furlanello et al., 2018).
    """

    name: Literal["soft_targets"]
    teachers: Annotated[list[str], Field(min_length=1)]
    """Folders of the runs to learn from, by the checkpoints that they tested; of several, the mean counts."""
    weight: Annotated[float, Field(gt=0, le=1)]
    """Share of the loss that is about the teachers; the rest is about the labels."""
    temperature: Positive
    """What logits are divided by, the teachers' and the network's, before they are compared."""


DistillationOptions = Annotated[NoDistillation | SoftTargets, Field(discriminator="name")]
