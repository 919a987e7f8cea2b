"""Loss and accuracies of one split, summed on the device and exact over any number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class Tally(Metric):
    """Sums over images; the means are formed once, when they are asked for.

    Args:
        top: which top-k accuracies to keep.
        superclass_of: int64 [classes]; if given, also the accuracy of the predicted class's superclass.
        group_of: int64 [classes]; if given, also the top-1 accuracy of each group's own images, groups counted from 0.
    """

    full_state_update = False

    def __init__(
        self, top: tuple[int, ...] = (1,), superclass_of: Tensor | None = None, group_of: Tensor | None = None
    ) -> None:
        super().__init__()
        self.top = top
        names = [f"top{k}" for k in top] + (["superclass_top1"] if superclass_of is not None else [])
        self.names = names
        # MPS has no float64; elsewhere it keeps the order of summation out of the printed digits.
        self.exact = torch.float32 if torch.backends.mps.is_available() else torch.float64
        self.add_state("loss", torch.zeros((), dtype=self.exact), dist_reduce_fx="sum")
        self.add_state("hits", torch.zeros(len(names), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.superclass_of = superclass_of
        self.group_of = group_of
        if group_of is not None:
            for name in ("group_hits", "group_count"):
                self.add_state(name, torch.zeros(int(group_of.max()) + 1, dtype=torch.int64), dist_reduce_fx="sum")
        self.group_hits: Tensor
        self.group_count: Tensor
        self.loss: Tensor
        self.hits: Tensor
        self.count: Tensor

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Tally:
        """Move to another device, but sum as exactly as before, whatever type the network computes in."""
        super()._apply(fn, exclude_state)
        none = self._defaults["loss"]
        assert isinstance(none, Tensor)
        self.loss, self._defaults["loss"] = self.loss.to(self.exact), none.to(self.exact)
        return self

    def reset(self) -> None:
        """Begin anew, in the same tensors: a recorded step adds to those."""
        states = {name: getattr(self, name) for name in self._defaults}
        super().reset()
        for name, state in states.items():
            setattr(self, name, state.zero_())

    def counted(self) -> None:
        """A batch was added to the sums without a call of `update`."""
        self._update_count += 1

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
        if self.group_of is not None:
            self.group_of = self.group_of.to(labels.device)
            # Not bincount: it waits for a GPU, and with weights its sums have no fixed order there.
            belongs = self.group_of[labels][:, None] == torch.arange(len(self.group_hits), device=labels.device)
            self.group_hits += (belongs & right[:, :1]).sum(0)
            self.group_count += belongs.sum(0)
        self.loss += losses.to(self.loss.dtype).sum()
        self.hits += torch.stack(hits)
        self.count += len(labels)

    def compute(self) -> dict[str, Tensor]:
        """`loss` and each accuracy as a fraction, scalars, by name; NaN where nothing was counted.

        With groups also `top1_by_group`, [groups].
        """
        means = self.hits.to(self.loss.dtype) / self.count
        found = {"loss": self.loss / self.count} | dict(zip(self.names, means, strict=True))
        if self.group_of is not None:
            found["top1_by_group"] = self.group_hits.to(self.loss.dtype) / self.group_count
        return found

    def sums(self) -> dict[str, Tensor]:
        """What has been counted on this rank."""
        sums = {"loss": self.loss, "hits": self.hits, "count": self.count}
        if self.group_of is not None:
            sums |= {"group_hits": self.group_hits, "group_count": self.group_count}
        return sums

    def resume(self, sums: dict[str, Tensor]) -> None:
        """Go on counting from such sums."""
        for name, value in sums.items():
            getattr(self, name).copy_(value)
        self._update_count = int(sums["count"] > 0)
