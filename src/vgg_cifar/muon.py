"""Muon: momentum whose matrix is made orthogonal before it moves the filters (Jordan et al., 2024).

The gradient of a filter bank has a few large directions, in which SGD spends its whole step; made orthogonal, every
direction counts the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from vgg_cifar import hardware

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial that is iterated: Jordan's, which bring singular values near 1 fast, not exactly to it."""


class Muon(SGD):
    """Muon for filters, SGD with Nesterov momentum for everything else.

    A step changes a filter bank by `lr` times its norm, in the direction of its orthogonal momentum: behind batch norm
    only the direction of a filter matters, so the rate is the relative change, whatever the layer's size. Such steps
    make a bank longer by a share of itself, again and again. So before each it is set back to the norm that it had at
    its first (Jordan's airbench94_muon.py, 2024, sets it to the root of the number of filters), and does not decay.
    Filters that no batch norm follows cannot learn their size.
    Filters that are all zero stay so. `torch.optim.Muon` takes matrices only, and leaves the other parameters to a
    second optimizer.

    Args:
        groups: parameter groups, each with its `weight_decay`, and its `lr` where that is not the one below.
        lr: relative change of filters per step.
        momentum: share of the running mean of gradients that is kept, for filters.
        iterations: of the Newton-Schulz iteration.
        others: the rate of everything else, as a multiple of `lr`.
        others_momentum: the momentum of everything else.
        fused: whether SGD's own step is fused.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.95,
        iterations: int = 5,
        others: float = 1.0,
        others_momentum: float = 0.9,
        fused: bool = False,
    ) -> None:
        self.iterations = iterations
        split = []
        for group in groups:
            parameters, rate = list(group["params"]), group.get("lr", lr)
            filters = [p for p in parameters if p.ndim == 4]
            rest = [p for p in parameters if p.ndim != 4]
            # SGD then takes the orthogonal step as it is: momentum has been applied before.
            plain = {
                "params": filters, "lr": rate, "momentum": 0.0, "nesterov": False, "filter_momentum": momentum,
                "weight_decay": 0.0,
            }  # fmt: skip
            usual = {"params": rest, "lr": rate * others, "filter_momentum": None}
            split += [group | part for part in (plain, usual) if part["params"]]
        split.sort(key=lambda group: group["filter_momentum"] is None)  # charts show the first group's rate
        kind = split[0]["params"][0].device.type
        self.dtype = torch.bfloat16 if hardware.precision(kind)[0] == "bf16-mixed" else torch.float32
        super().__init__(split, lr=lr, momentum=others_momentum, nesterov=others_momentum > 0, fused=fused)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; filters are set back to their norms, their gradients replaced by what they are moved by.

        Args:
            closure: computes the gradients anew and returns the loss.

        Returns:
            What the closure returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["filter_momentum"] is not None:
                for filters in group["params"]:  # all, at the first step: later ones may be recorded
                    self._begin(filters)
                moved = [filters for filters in group["params"] if filters.grad is not None]
                for same in _by_shape(moved):
                    self._turn(same, group["filter_momentum"])
        super().step()
        return loss

    def _begin(self, filters: Tensor) -> None:
        state = self.state[filters]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(filters)
        if "norm" not in state:
            state["norm"] = filters.norm()

    def _turn(self, same: list[Tensor], momentum: float) -> None:
        """Make filter banks of one shape ready for SGD: together, for a GPU is done with one in no time."""
        gradients = [filters.grad for filters in same if filters.grad is not None]
        means = [self.state[filters]["mean"] for filters in same]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        torch._foreach_lerp_(gradients, means, momentum)
        banks = [gradient.permute(0, 2, 3, 1) for gradient in gradients]  # as they lie in memory; any order would do
        stacked = torch.stack([bank.to(self.dtype) for bank in banks])
        shared = stacked.device.type == "cpu"
        directions = orthogonal(stacked.flatten(2), self.iterations, shared=shared).view(stacked.shape)
        torch._foreach_copy_(banks, list(directions))
        kept = torch.stack([self.state[filters]["norm"] for filters in same])
        torch._foreach_mul_(same, list(kept / torch.stack(torch._foreach_norm(same)).clamp_min(1e-12)))
        torch._foreach_mul_(gradients, list(kept / torch.stack(torch._foreach_norm(gradients)).clamp_min(1e-12)))


def _by_shape(tensors: list[Tensor]) -> list[list[Tensor]]:
    shapes: dict[torch.Size, list[Tensor]] = {}
    for each in tensors:
        shapes.setdefault(each.shape, []).append(each)
    return list(shapes.values())


def orthogonal(matrix: Tensor, iterations: int = 5, *, shared: bool = False) -> Tensor:
    """The nearest matrix with orthonormal rows or columns, roughly, by Newton-Schulz iteration.

    Args:
        matrix: float [..., m, n]; bfloat16 is exact enough for a direction.
        iterations: five bring singular values from a hundredth of the norm upwards to between about 0.7 and 1.15.
        shared: whether two or three iterations share their products with the matrix itself, which is usually far wider
            than high, and multiply their factors with one another instead, in float32. That is for CPUs: on a GPU,
            float32 is slow beside bfloat16.

    Returns:
        [..., m, n] of the same type.
    """
    x: Tensor = matrix.reshape(-1, *matrix.shape[-2:])
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    left = iterations
    while left:
        # Rounding a product may lose values below 0.05, which two iterations multiply by about 12, three by 40 or more.
        # From 1.26 upwards the next iteration makes them larger still: only the last three go together.
        together = 1 if not shared else 3 if left == 3 else min(left, 2)
        gram = x @ x.mT
        if together > 1:
            gram = gram.to(torch.promote_types(gram.dtype, torch.float32))
        factor = product = _factor(gram)
        for _ in range(together - 1):
            gram = factor @ gram @ factor
            factor = _factor(gram)
            product = factor @ product
        x = product.to(x.dtype) @ x
        left -= together
    return (x.mT if tall else x).reshape(matrix.shape)


def _factor(gram: Tensor) -> Tensor:
    """What an iteration multiplies matrices by, [k, m, m], from the products of their rows with one another."""
    a, b, c = COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor
