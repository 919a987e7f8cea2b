"""How a step of training is taken: as it is, through a compiled network, or repeated from a CUDA graph.

A step of VGG16-BN is some hundred kernels, and on a fast GPU each is over before Python has asked for the next. In a
graph are all of them: forward, loss, backward and update.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.pytorch.loops.optimization.automatic import Closure
from torch import Tensor, nn
from torch.optim import Optimizer

from vgg_cifar.data.loader import Batch

Step = Callable[[], Tensor]
"""Gives a loss."""
Capture = Callable[[Step], tuple[Callable[[], object], Tensor]]
"""Records a step without taking it: what repeats it, on whatever its tensors hold then, and where the loss is left."""


@dataclass
class _Recorded:
    repeat: Callable[[], object]
    loss: Tensor
    result: Any


class StepGraphs:
    """Steps recorded once per shape of their batch, and repeated from then on.

    The first step of a shape is taken as it is: libraries choose their algorithms, the optimizer makes its state. The
    second is recorded. All batches of a shape are copied to the place where the recorded step looks, and so are the
    learning rates.

    Args:
        capture: how a step is recorded.
    """

    def __init__(self, capture: Capture | None = None) -> None:
        self._capture = capture or CUDAGraphs()
        self._places: dict[object, Batch] = {}
        self._recorded: dict[object, _Recorded] = {}
        self._rates: list[Tensor] = []

    def place(self, batch: Batch) -> Batch:
        """The batch, where the steps of its shape look for it."""
        if batch.shapes not in self._places:
            copies: dict[str, Any] = {
                name: each.clone() for name, each in batch._asdict().items() if isinstance(each, Tensor)
            }
            self._places[batch.shapes] = batch._replace(**copies)
        place = self._places[batch.shapes]
        for its, new in zip(place, batch, strict=True):
            if isinstance(its, Tensor) and isinstance(new, Tensor):
                its.copy_(new)
        return place

    def take(self, batch: Batch, step: Step, closure: Closure, optimizer: Optimizer) -> Tensor:
        """Take a step on a batch that `place` gave out and that is not the first of its shape.

        Args:
            batch: what the step learns from.
            step: a call of `closure` and of the optimizer that updates the weights; gives the loss, a scalar. It only
                runs when it is recorded.
            closure: gets the result that it had then.
            optimizer: whose learning rates may change from step to step, and nothing else.

        Returns:
            The loss of this step, a scalar of its own.
        """
        groups = optimizer.param_groups
        if not self._rates:
            self._rates = [torch.zeros((), device=group["params"][0].device) for group in groups]
        for tensor, group in zip(self._rates, groups, strict=True):
            tensor.fill_(group["lr"])
        if batch.shapes not in self._recorded:
            self._recorded[batch.shapes] = self._record(step, closure, groups)
        recorded = self._recorded[batch.shapes]
        recorded.repeat()
        closure._result = recorded.result  # Lightning asks for it; a graph runs no Python that could set it
        return recorded.loss.clone()

    def _record(self, step: Step, closure: Closure, groups: list[dict[str, Any]]) -> _Recorded:
        numbers = [group["lr"] for group in groups]
        for group, tensor in zip(groups, self._rates, strict=True):
            group["lr"] = tensor
        try:
            repeat, loss = self._capture(step)
        finally:
            for group, number in zip(groups, numbers, strict=True):
                group["lr"] = number
        return _Recorded(repeat, loss, closure._result)


class CUDAGraphs:
    """Records steps as CUDA graphs that share their memory: they never run at the same time."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, step: Step) -> tuple[Callable[[], object], Tensor]:
        """Record; the GPU does nothing yet."""
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as those that write for TensorBoard, may call CUDA meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            loss = step()
        self._pool = graph.pool()
        return graph.replay, loss


class Stepping:
    """Knows which steps are worth a compilation or a recording.

    Of a training batch: `begin`, forward and backward, in `take` where they end in a step, `end`.

    Args:
        network: normalised images to logits.
        compile: whether large batches go through a compiled form of it, whose weights are the network's; "graphs":
            whole steps as CUDA graphs, too.
    """

    def __init__(self, network: nn.Module, compile: bool | Literal["graphs"] = False) -> None:
        self._network = network
        # Evaluations are few and short: not worth a compilation of their own.
        self._compiled = torch.compile(network.forward, dynamic=False) if compile else None
        self._graphs = StepGraphs() if compile == "graphs" else None
        self.batch: Batch
        """The one that was begun with; where steps are recorded, in the place where they look for it."""
        self._seen: Counter[object] = Counter()
        """Steps of this process by the shapes of their batches."""
        self._largest = 0
        self._losses: list[Tensor] | None = None
        """While a step is recorded, those of its forward passes: they have no values yet."""
        self.as_it_is = False
        """Set by who looks into the next step: that one is not repeated from a graph."""

    @property
    def has_graphs(self) -> bool:
        """Whether steps are recorded: the optimizer has to keep all it knows on the device."""
        return self._graphs is not None

    def begin(self, batch: Batch) -> None:
        """Make ready to learn from this batch."""
        self.batch = batch if self._graphs is None else self._graphs.place(batch)

    def end(self) -> None:
        """Remember that a batch of this shape was there."""
        self._seen[self.batch.shapes] += 1
        self._largest = max(self._largest, self.batch.total)

    def placed(self, batch: Batch) -> Batch:
        """The batch that was begun with, where a step is to look for it."""
        return batch if self._graphs is None else self.batch

    def prepares(self, batch: Batch) -> bool:
        """Whether learning from this batch also compiles, or records: the first two of a shape may."""
        seen = self._seen[batch.shapes]
        return (self.compiles(batch) and seen == 0) or (self._graphs is not None and seen == 1)

    def compiles(self, batch: Batch) -> bool:
        """Whether its images go through the compiled network: not those of a batch smaller than one before."""
        return self._compiled is not None and batch.total >= self._largest

    def logits(self, batch: Batch) -> Tensor:
        """Of a training batch, [n, classes]."""
        through = self._compiled if self._compiled is not None and self.compiles(batch) else self._network
        return through(batch.images)  # type: ignore[no-any-return]

    @property
    def is_recording(self) -> bool:
        """Whether what a step computes now has no values yet."""
        return self._losses is not None

    def keep(self, loss: Tensor) -> None:
        """Where a step that is recorded leaves its loss."""
        assert self._losses is not None
        self._losses.append(loss)

    def take(
        self, step: Callable[[], object], closure: Callable[[], Any] | None, optimizer: Optimizer
    ) -> Tensor | None:
        """Take a step on the batch that was begun with.

        Args:
            step: calls `closure`, once or more, and then the optimizer.
            closure: forward and backward; while a step is recorded, they say in `keep` where their loss is.
            optimizer: where steps are recorded, nothing but its learning rates may change from one to the next.

        Returns:
            The loss of a step that was repeated, which told nobody of it; None of one that was taken as it is.
        """
        as_it_is, self.as_it_is = self.as_it_is, False
        if self._graphs is None or as_it_is or self._seen[self.batch.shapes] == 0:
            step()
            return None

        def record() -> Tensor:
            self._losses = []
            try:
                step()
                return self._losses[0]
            finally:
                self._losses = None

        assert isinstance(closure, Closure)
        return self._graphs.take(self.batch, record, closure, optimizer)
