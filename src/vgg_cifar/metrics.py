"""Loss and accuracies of one split, summed on the device and exact over any number of ranks."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Tally(Metric):
    """Sums over images; the means are formed once, when they are asked for.

    Args:
        top: which top-k accuracies to keep.
        superclass_of: int64 [classes]; if given, also the accuracy of the predicted class's superclass.
    """

    full_state_update = False

    def __init__(self, top: tuple[int, ...] = (1,), superclass_of: Tensor | None = None) -> None:
        super().__init__()
        self.top = top
        names = [f"top{k}" for k in top] + (["superclass_top1"] if superclass_of is not None else [])
        self.names = names
        # MPS has no float64; elsewhere it keeps the order of summation out of the printed digits.
        exact = torch.float32 if torch.backends.mps.is_available() else torch.float64
        self.add_state("loss", torch.zeros((), dtype=exact), dist_reduce_fx="sum")
        self.add_state("hits", torch.zeros(len(names), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.superclass_of = superclass_of
        self.loss: Tensor
        self.hits: Tensor
        self.count: Tensor

    def update(self, logits: Tensor, labels: Tensor, losses: Tensor) -> None:
        """Count a batch.

        Args:
            logits: float [n, classes].
            labels: int64 [n].
            losses: float [n], each image's loss.
        """
        ranked = logits.topk(min(max(self.top), logits.shape[1]), dim=1).indices
        right = ranked == labels[:, None]
        hits = [right[:, :k].sum() for k in self.top]
        if self.superclass_of is not None:
            self.superclass_of = self.superclass_of.to(labels.device)
            hits.append((self.superclass_of[ranked[:, 0]] == self.superclass_of[labels]).sum())
        self.loss += losses.to(self.loss.dtype).sum()
        self.hits += torch.stack(hits)
        self.count += len(labels)

    def compute(self) -> dict[str, Tensor]:
        """`loss` and each accuracy as a fraction, scalars, by name; NaN where nothing was counted."""
        means = self.hits.to(self.loss.dtype) / self.count
        return {"loss": self.loss / self.count} | dict(zip(self.names, means, strict=True))

    def sums(self) -> dict[str, Tensor]:
        """What has been counted on this rank."""
        return {"loss": self.loss, "hits": self.hits, "count": self.count}

    def resume(self, sums: dict[str, Tensor]) -> None:
        """Go on counting from such sums."""
        for name, value in sums.items():
            getattr(self, name).copy_(value)
        self._update_count = int(sums["count"] > 0)
