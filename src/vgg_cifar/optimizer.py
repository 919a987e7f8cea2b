"""The `optimizer` group: torch's own optimizers, in their fused form where torch has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from vgg_cifar.options import Fraction, Options, Positive

if TYPE_CHECKING:
    from torch.optim import Optimizer

Groups = list[dict[str, Any]]


class SGD(Options):
    """Stochastic gradient descent with momentum (Sutskever et al., 2013)."""

    name: Literal["sgd"]
    lr: Positive
    """Peak learning rate, for the whole batch of a step."""
    momentum: Fraction
    """Share of the last step's velocity that is kept."""
    nesterov: bool
    """Whether the gradient is taken ahead of the velocity; needs momentum."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and not self.momentum:
            raise ValueError(
                "optimizer.nesterov needs momentum: set optimizer.nesterov=false or optimizer.momentum=0.9"
            )
        return self

    def build(self, groups: Groups, *, fused: bool) -> Optimizer:
        """The optimizer of these parameter groups."""
        import torch

        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=fused)


class Adam(Options):
    """Adam (Kingma & Ba, 2015); weight decay is added to the gradient."""

    name: Literal["adam"]
    lr: Positive
    """Peak learning rate."""
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    """How much of the running means of gradient and squared gradient is kept per step."""
    eps: Positive
    """Added to the denominator."""

    def build(self, groups: Groups, *, fused: bool) -> Optimizer:
        """The optimizer of these parameter groups."""
        import torch

        return torch.optim.Adam(groups, lr=self.lr, betas=(self.betas[0], self.betas[1]), eps=self.eps, fused=fused)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter, 2019)."""

    name: Literal["adamw"]  # type: ignore[assignment]

    def build(self, groups: Groups, *, fused: bool) -> Optimizer:
        """The optimizer of these parameter groups."""
        import torch

        return torch.optim.AdamW(groups, lr=self.lr, betas=(self.betas[0], self.betas[1]), eps=self.eps, fused=fused)


class RMSprop(Options):
    """RMSprop (Tieleman & Hinton, 2012); torch has no fused form of it."""

    name: Literal["rmsprop"]
    lr: Positive
    """Peak learning rate."""
    alpha: Fraction
    """How much of the running mean of the squared gradient is kept per step."""
    momentum: Fraction
    """Share of the last step's velocity that is kept."""
    eps: Positive
    """Added to the denominator."""

    def build(self, groups: Groups, *, fused: bool) -> Optimizer:
        """The optimizer of these parameter groups."""
        import torch

        return torch.optim.RMSprop(groups, lr=self.lr, alpha=self.alpha, momentum=self.momentum, eps=self.eps)


OptimizerOptions = Annotated[SGD | Adam | AdamW | RMSprop, Field(discriminator="name")]
