"""Those whom the `distillation` group asks: trained networks that do not learn any more."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Source(NamedTuple):
    """Where a teacher is from: the folder of its run, and the SHA-256 of the checkpoint that was read there."""

    run: str
    sha256: str


class Teachers:
    """Networks whose mean opinion is a target.

    Args:
        networks: normalised images [n, 3, side, side] to logits [n, classes]; they are asked in evaluation mode.
        weight: share of the loss that is about them, in (0, 1].
        temperature: of their probabilities and those that are compared with them.
        sources: where each is from.
    """

    def __init__(
        self, networks: Sequence[nn.Module], weight: float, temperature: float, sources: Sequence[Source] = ()
    ) -> None:
        # A module of its own, that no other has: they are neither trained nor saved.
        self.networks = nn.ModuleList(networks).eval().requires_grad_(False)
        self.weight = weight
        self.temperature = temperature
        self.sources = list(sources)
        self._compiled: Callable[[Tensor], Tensor] | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move them to where they will be asked."""
        self.networks.to(device, dtype)

    @torch.no_grad()
    def opinion(self, images: Tensor, *, compiled: bool = False) -> Tensor:
        """What they take normalised images [n, 3, side, side] for.

        Args:
            images: as the student sees them.
            compiled: whether to compile for this shape, or use what was.

        Returns:
            Float32 [n, classes], logarithms of mean probabilities at the temperature.
        """
        if not compiled:
            return self._ask(images)
        self._compiled = self._compiled or torch.compile(self._ask, dynamic=False)
        return self._compiled(images)

    def blend(self, losses: Tensor, logits: Tensor, opinion: Tensor) -> Tensor:
        """The losses [n] by the labels, and in part by the teachers' opinion.

        Args:
            losses: float32 [n], by the labels.
            logits: float32 [n, classes], the student's.
            opinion: of the same images.

        Returns:
            (1 - weight) losses + weight T² KL(teachers || student): T² keeps the second gradient's size as T grows.
        """
        own = F.log_softmax(logits / self.temperature, 1)
        divergence = F.kl_div(own, opinion, reduction="none", log_target=True).sum(1)
        return torch.lerp(losses, self.temperature**2 * divergence, self.weight)

    def _ask(self, images: Tensor) -> Tensor:
        each = [F.log_softmax(network(images).float() / self.temperature, 1) for network in self.networks]
        return torch.stack(each).logsumexp(0) - math.log(len(each))
