"""Muon: momentum whose matrix is made orthogonal before it moves the filters (Jordan et al., 2024).

The gradient of a filter bank has a few large directions, in which SGD spends its whole step; made orthogonal, every
direction counts the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from vgg_cifar import hardware

Polynomial = tuple[float, float, float]

POLYNOMIALS: tuple[Polynomial, ...] = (
    (8.017167, -22.940955, 16.611259),
    (3.611939, -2.652063, 0.512305),
    (2.533853, -1.602203, 0.305551),
    (1.954685, -1.297815, 0.351883),
    (1.848067, -1.195728, 0.347690),
)
"""a, b and c of ax + bx^3 + cx^5, for each iteration in turn, the last also for all that follow. Each is the minimax
polynomial of 1 on the interval that the one before leaves, the first from 0.01 to 1 (N. Amsel et al., "The Polar
Express", 2025). The upper end is raised for rounding, by 1%, 1%, 10%, 3% and 3%: values beyond it would grow from there
on, and in bfloat16 the two that share their products round most."""


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
        iterations: int = 3,
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
            plain = {"params": filters, "lr": rate, "filter_momentum": momentum,
                     "weight_decay": 0.0}  # fmt: skip
            usual = {"params": rest, "lr": rate * others, "filter_momentum": None}
            split += [group | part for part in (plain, usual) if part["params"]]
        split.sort(key=lambda group: group["filter_momentum"] is None)  # charts show the first group's rate
        kind = split[0]["params"][0].device.type
        self.dtype = torch.bfloat16 if hardware.precision(kind)[0] == "bf16-mixed" else torch.float32
        super().__init__(split, lr=lr, momentum=others_momentum, nesterov=others_momentum > 0, fused=fused)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step. The gradients of filters become the mean that it follows.

        Args:
            closure: computes the gradients anew and returns the loss.

        Returns:
            What the closure returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in groups:
            if group["filter_momentum"] is not None:
                for filters in group["params"]:  # all, at the first step: later ones may be recorded
                    self._begin(filters)
                moved = [filters for filters in group["params"] if filters.grad is not None]
                for same in _by_shape(moved):
                    self._move(same, group["lr"], group["filter_momentum"])
        self.param_groups = [group for group in groups if group["filter_momentum"] is None]
        try:
            super().step()
        finally:
            self.param_groups = groups
        return loss

    def _begin(self, filters: Tensor) -> None:
        state = self.state[filters]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(filters)
        if "norm" not in state:
            state["norm"] = filters.norm()

    def _move(self, same: list[Tensor], rate: float | Tensor, momentum: float) -> None:
        """Move filter banks of one shape: together, for a GPU is done with one in no time."""
        gradients = [filters.grad for filters in same if filters.grad is not None]
        means = [self.state[filters]["mean"] for filters in same]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        torch._foreach_lerp_(gradients, means, momentum)
        banks = _as_they_lie(gradients)
        stacked = torch.empty((len(banks), *banks[0].shape), dtype=self.dtype, device=banks[0].device)
        torch._foreach_copy_(list(stacked), banks)
        directions = orthogonal(stacked.flatten(2), self.iterations).float()
        kept = torch.stack([self.state[filters]["norm"] for filters in same])
        torch._foreach_mul_(same, list(kept / torch.stack(torch._foreach_norm(same)).clamp_min(1e-12)))
        lengths = directions.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        directions.mul_(-rate * kept.view(-1, 1, 1) / lengths)
        torch._foreach_add_(_as_they_lie(same), list(directions.view(stacked.shape)))


def _as_they_lie(banks: list[Tensor]) -> list[Tensor]:
    """Views [o, h, w, i] of filters, the order of channels-last memory; any would do."""
    return [bank.permute(0, 2, 3, 1) for bank in banks]


def _by_shape(tensors: list[Tensor]) -> list[list[Tensor]]:
    shapes: dict[torch.Size, list[Tensor]] = {}
    for each in tensors:
        shapes.setdefault(each.shape, []).append(each)
    return list(shapes.values())


def orthogonal(matrix: Tensor, iterations: int = 3) -> Tensor:
    """The nearest matrix with orthonormal rows or columns, roughly, by Newton-Schulz iteration.

    An iteration multiplies X by a + bG + cG^2, where G = XX'. X is usually far wider than high: iterations share the
    products with X itself, and multiply their factors with one another instead. In bfloat16 only the first two do, and
    in float32 five: with more, the share of the identity would be so much larger than the factors of values near 1 that
    their digits were lost. X is divided by its Schatten 4-norm, the root of G's norm: no singular value is larger, and
    if many are of like size it is far less than X's own norm, by which Jordan divides, so that they begin nearer to 1.

    Args:
        matrix: float [..., m, n]; bfloat16 is exact enough for a direction.
        iterations: two bring singular values from a hundredth of that norm upwards to between 0.28 and 1.75, three
            to between 0.6 and 1.35, four to within 0.1 of 1.

    Returns:
        [..., m, n] of the same type.
    """
    x: Tensor = matrix.reshape(-1, *matrix.shape[-2:])
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    gram = x @ x.mT
    square = gram.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-30)[:, None, None]  # of X's norm
    gram = gram / square  # or else the squares that its norm sums may be too small, or too large, for any float
    size = gram.norm(dim=(1, 2), keepdim=True).clamp_min(1e-3)
    x, gram = x * (square * size).rsqrt(), gram / size
    polynomials = [POLYNOMIALS[min(done, len(POLYNOMIALS) - 1)] for done in range(iterations)]
    together = 2 if x.dtype == torch.bfloat16 else 5
    share, rest = _factor(gram, polynomials[:together])
    x = torch.baddbmm(x, rest, x, beta=share)
    for polynomial in polynomials[together:]:
        share, rest = _factor(x @ x.mT, [polynomial])
        x = torch.baddbmm(x, rest, x, beta=share)
    return (x.mT if tall else x).reshape(matrix.shape)


def _factor(gram: Tensor, polynomials: Sequence[Polynomial]) -> tuple[float, Tensor]:
    """What iterations multiply by, from the products of all rows with one another, [k, m, m].

    Returns:
        The share of the identity, and the rest: apart, they lose least in bfloat16.
    """
    a, b, c = polynomials[0]
    share, rest = a, torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    latest = rest
    for polynomial in polynomials[1:]:
        half = latest @ gram
        gram = torch.baddbmm(a * a * gram + 2 * a * half, latest, half)
        a, b, c = polynomial
        latest = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        share, rest = a * share, torch.baddbmm(share * latest + a * rest, latest, rest)
    return share, rest
