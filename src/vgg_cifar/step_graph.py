"""A whole optimizer step as one CUDA graph: forward, loss, backward and update without a word from Python.

A step of VGG16-BN is some hundred kernels, and on a fast GPU each is over before Python has asked for the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.loops.optimization.automatic import Closure
from torch import Tensor
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
