"""The `weight_decay` group: how strongly weights are pulled to zero, and which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from vgg_cifar.options import NotNegative, Options

if TYPE_CHECKING:
    from torch import nn


class NoDecay(Options):
    """Nothing is pulled."""

    name: Literal["none"]

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups for a torch optimizer."""
        return [{"params": list(network.parameters()), "weight_decay": 0.0}]


class StandardDecay(Options):
    """Weights of convolutions and fully connected layers only; biases and batch norm are left alone."""

    name: Literal["standard"]
    value: NotNegative
    """Decay per step: value * weight is added to the gradient, or, with adamw, taken off the weight itself."""

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups for a torch optimizer: first what decays, then what does not."""
        decayed = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]
        return [{"params": decayed, "weight_decay": self.value}, {"params": others, "weight_decay": 0.0}]


class EverywhereDecay(Options):
    """Every parameter, as an optimizer's own `weight_decay` argument does."""

    name: Literal["everywhere"]
    value: NotNegative
    """Decay per step, on all parameters."""

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups for a torch optimizer."""
        return [{"params": list(network.parameters()), "weight_decay": self.value}]


WeightDecayOptions = Annotated[NoDecay | StandardDecay | EverywhereDecay, Field(discriminator="name")]
