"""The `sharpness` group: whether a step also looks for flat surroundings, whatever optimizer takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vgg_cifar.options import NotNegative, Options, Positive

if TYPE_CHECKING:
    from torch import nn

    from vgg_cifar.sharpness_aware import Ascent


class NoSharpness(Options):
    """A step follows the gradient where the weights are."""

    name: Literal["none"]

    def build(self, network: nn.Module) -> Ascent | None:
        """Nothing to do before a step."""
        return None


class SAM(Options):
    """Sharpness-aware minimisation (Foret et al., 2021): a step follows the gradient from a little uphill."""

    name: Literal["sam"]
    rho: Positive
    """How far uphill, as the distance between all weights before and after."""

    def build(self, network: nn.Module) -> Ascent:
        """What goes uphill before a step of this network."""
        from vgg_cifar.sharpness_aware import Ascent

        return Ascent(network, self.rho)


class ASAM(Options):
    """Adaptive sharpness-aware minimisation (Kwon et al., 2021), which scaling a layer's weights does not change."""

    name: Literal["asam"]
    rho: Positive
    """How far uphill, as the distance between all weights before and after, each relative to its own size."""
    eta: NotNegative
    """Added to the size of a weight."""

    def build(self, network: nn.Module) -> Ascent:
        """What goes uphill before a step of this network."""
        from vgg_cifar.sharpness_aware import Ascent

        return Ascent(network, self.rho, self.eta)


SharpnessOptions = Annotated[NoSharpness | SAM | ASAM, Field(discriminator="name")]
