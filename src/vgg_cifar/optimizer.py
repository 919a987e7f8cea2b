"""The `optimizer` group: torch's own optimizers, in their fused form where torch has one, and Muon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from vgg_cifar.custom import Custom
from vgg_cifar.options import Count, Fraction, Options, Positive

if TYPE_CHECKING:
    from torch.optim import Optimizer

Groups = list[dict[str, Any]]
LearningRate = Positive | Literal["auto"]
"""Peak learning rate; auto looks for one before the run, see `tuning`."""


class SGD(Options):
    """Stochastic gradient descent with momentum (Sutskever et al., 2013)."""

    name: Literal["sgd"]
    lr: LearningRate
    """Peak learning rate, for the whole batch of a step."""
    momentum: Fraction
    """Share of the last step's velocity that is kept."""
    nesterov: bool
    """Whether the gradient is taken ahead of the velocity; needs momentum."""
    bias_scale: Positive
    """Rate of biases and of batch norm, as a multiple of `lr`."""

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

        lr = float(self.lr)
        groups = with_rates(groups, lr, self.bias_scale)
        return torch.optim.SGD(groups, lr=lr, momentum=self.momentum, nesterov=self.nesterov, fused=fused)


class Adam(Options):
    """Adam (Kingma & Ba, 2015); weight decay is added to the gradient."""

    name: Literal["adam"]
    lr: LearningRate
    """Peak learning rate."""
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    """How much of the running means of gradient and squared gradient is kept per step."""
    eps: Positive
    """Added to the denominator."""

    def build(self, groups: Groups, *, fused: bool) -> Optimizer:
        """The optimizer of these parameter groups."""
        import torch

        return torch.optim.Adam(
            groups, lr=float(self.lr), betas=(self.betas[0], self.betas[1]), eps=self.eps, fused=fused
        )


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter, 2019)."""

    name: Literal["adamw"]  # type: ignore[assignment]

    def build(self, groups: Groups, *, fused: bool) -> Optimizer:
        """The optimizer of these parameter groups."""
        import torch

        return torch.optim.AdamW(
            groups, lr=float(self.lr), betas=(self.betas[0], self.betas[1]), eps=self.eps, fused=fused
        )


class RMSprop(Options):
    """RMSprop (Tieleman & Hinton, 2012); torch has no fused form of it."""

    name: Literal["rmsprop"]
    lr: LearningRate
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

        return torch.optim.RMSprop(groups, lr=float(self.lr), alpha=self.alpha, momentum=self.momentum, eps=self.eps)


class Muon(Options):
    """Muon for filters, which keep their norms and do not decay; Nesterov SGD for the rest: see `muon`."""

    name: Literal["muon"]
    lr: LearningRate
    """Peak change of a layer's filters per step, relative to their norm."""
    momentum: Fraction
    """Share of the running mean of gradients that is kept, for filters."""
    iterations: Count
    """Newton-Schulz iterations that make a step orthogonal: two are faster and rougher, four nearly exact, but for
    directions in which the gradient is a hundred times as small as in others. Gradients are in bfloat16 there if the
    hardware multiplies it, whatever `trainer.precision` says: only a direction comes of them."""
    others: Positive
    """Rate of everything that is no filter, as a multiple of `lr`."""
    others_momentum: Fraction
    """Share of the last step's velocity that everything else keeps."""
    bias_scale: Positive
    """Rate of biases and of batch norm, as a multiple of what everything else has."""

    def build(self, groups: Groups, *, fused: bool) -> Optimizer:
        """The optimizer of these parameter groups."""
        from vgg_cifar import muon

        lr = float(self.lr)
        return muon.Muon(
            with_rates(groups, lr, self.bias_scale),
            lr=lr,
            momentum=self.momentum,
            iterations=self.iterations,
            others=self.others,
            others_momentum=self.others_momentum,
            fused=fused,
        )


class CustomOptimizer(Custom):
    """Any class that derives from `torch.optim.Optimizer`."""

    group = "optimizer"
    base = "torch.optim.Optimizer"
    handed = ("params",)
    lr: LearningRate
    """Peak learning rate; an argument of the class."""

    @model_validator(mode="after")
    def _can_be_made(self) -> CustomOptimizer:
        import torch

        weights = [torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2))]
        self.make([{"params": [each]} for each in weights])
        return self

    def arguments(self) -> dict[str, Any]:
        """What the class is called with; a rate still to be found is checked with a small one."""
        return {"lr": 1e-3 if self.lr == "auto" else self.lr, **super().arguments()}

    def build(self, groups: Groups, *, fused: bool) -> Optimizer:
        """The optimizer of these parameter groups; `fused` is the class's own affair."""
        assert self.lr != "auto", "found before the run"
        return self.make(groups)  # type: ignore[no-any-return]


def with_rates(groups: Groups, lr: float, bias_scale: float) -> Groups:
    """Parameter groups with their learning rates.

    Args:
        groups: as `weight_decay` makes them.
        lr: of everything but biases and batch norm, whose weights are vectors too.
        bias_scale: what these have, as a multiple; 1 leaves the groups as they are.

    Returns:
        The groups, each with its `lr`; vectors apart from what else is in their group, and behind it.
    """
    if bias_scale == 1:
        return [group | {"lr": lr} for group in groups]
    split = []
    for group in groups:
        parameters = list(group["params"])
        weights = {"params": [p for p in parameters if p.ndim > 1], "lr": lr}
        vectors = {"params": [p for p in parameters if p.ndim <= 1], "lr": lr * bias_scale}
        split += [group | part for part in (weights, vectors) if part["params"]]
    return split


OptimizerOptions = Annotated[SGD | Adam | AdamW | RMSprop | Muon | CustomOptimizer, Field(discriminator="name")]
