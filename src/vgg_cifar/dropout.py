"""The `dropout` group: where activations are dropped (Srivastava et al., 2014)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vgg_cifar.options import Fraction, Options


class NoDropout(Options):
    """Nowhere."""

    name: Literal["none"]

    @property
    def in_head(self) -> float:
        """Probability after each hidden fully connected layer."""
        return 0.0

    @property
    def in_blocks(self) -> float:
        """Probability after each convolutional block, for whole channels (Tompson et al., 2015)."""
        return 0.0


class HeadDropout(NoDropout):
    """After each hidden fully connected layer, as in the original VGG."""

    name: Literal["head"]  # type: ignore[assignment]
    p: Fraction
    """Probability of dropping a unit of a hidden fully connected layer."""

    @property
    def in_head(self) -> float:
        """Probability after each hidden fully connected layer."""
        return self.p


class AllDropout(HeadDropout):
    """In the head, and whole channels after each convolutional block."""

    name: Literal["all"]  # type: ignore[assignment]
    p_block: Fraction
    """Probability of dropping a channel at the end of a block."""

    @property
    def in_blocks(self) -> float:
        """Probability after each convolutional block."""
        return self.p_block


DropoutOptions = Annotated[NoDropout | HeadDropout | AllDropout, Field(discriminator="name")]
