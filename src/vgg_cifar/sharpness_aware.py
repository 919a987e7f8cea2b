"""The second pass behind the `sharpness` group: nothing waits for the device, so it may be part of a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

LEAST_NORM = 1e-12
"""Of a gradient; a smaller one leads nowhere."""


class Ascent:
    """Gradients for a step, not from where the weights w are, but from rho uphill.

    Uphill is w + rho g / |g| (Foret et al., 2021), with the norm over all parameters that have a gradient g; or
    adaptively w + rho T² g / |T g| (Kwon et al., 2021), where T is |w| + eta for a weight and 1 for a bias.

    Args:
        network: what is trained.
        rho: how far to go.
        eta: added to the size of weights, for the adaptive form; None for the other.

    Attributes:
        uphill: whether the pass that goes on is the second one, of which nothing should be counted.
    """

    def __init__(self, network: nn.Module, rho: float, eta: float | None = None) -> None:
        self.network = network
        self.rho = rho
        self.eta = eta
        self.uphill = False

    def __call__(self, closure: Callable[[], Tensor]) -> Tensor:
        """Leave weights and running statistics as one pass would, but the gradients of the second.

        Args:
            closure: computes the gradients anew and returns the loss, a scalar.

        Returns:
            The loss at the weights themselves.
        """
        loss = closure()
        with torch.no_grad():
            moved = {name: each for name, each in self.network.named_parameters() if each.grad is not None}
            kept = [*moved.values(), *self._statistics()]
            before = [torch.empty_like(each) for each in kept]
            _copy(kept, before)
            torch._foreach_add_(list(moved.values()), self._way(moved))
        self.uphill = True
        again = closure()
        self.uphill = False
        with torch.no_grad():
            _copy(before, kept)
            again.copy_(loss)  # whoever kept what the closure returned last, as Lightning does, has the right one
        return loss

    def _way(self, moved: dict[str, nn.Parameter]) -> tuple[Tensor, ...]:
        """What to add to each of these parameters."""
        gradients = [each.grad for each in moved.values() if each.grad is not None]
        if self.eta is None:
            return torch._foreach_mul(gradients, self.rho / _norm(gradients))
        scales = torch._foreach_abs(list(moved.values()))
        torch._foreach_add_(scales, self.eta)
        of_biases = [each for name, each in zip(moved, scales, strict=True) if "weight" not in name.rpartition(".")[2]]
        if of_biases:
            torch._foreach_zero_(of_biases)
            torch._foreach_add_(of_biases, 1)
        scaled = torch._foreach_mul(gradients, scales)
        factor = self.rho / _norm(scaled)
        torch._foreach_mul_(scaled, scales)
        torch._foreach_mul_(scaled, factor)
        return scaled

    def _statistics(self) -> list[Tensor]:
        """What batch norm notes in passing."""
        return [
            buffer for module in self.network.modules() if isinstance(module, _NormBase) for buffer in module.buffers()
        ]


def _norm(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Of all of them together, in float32 or more; a scalar on their device."""
    dtype = torch.promote_types(tensors[0].dtype, torch.float32)
    norms = torch._foreach_norm(tensors, 2, dtype=dtype)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm.clamp_min(LEAST_NORM)


def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    """Type by type: a list of several types would be copied tensor by tensor."""
    for dtype in {each.dtype for each in source}:
        torch._foreach_copy_(
            [each for each in target if each.dtype == dtype], [each for each in source if each.dtype == dtype]
        )
