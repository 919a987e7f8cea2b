"""How weights and gradients are distributed, on TensorBoard, some times in a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn

from vgg_cifar.runs.record import Stopwatch
from vgg_cifar.runs.tensorboard import Dashboard

Values = npt.NDArray[np.float64]
BINS = 32
"""TensorBoard draws 30."""
SAMPLE = 2**13
"""Values of a layer that are counted at most; the others are spared."""


class Histograms(Checkpoint):
    """Writes them after the last step of an epoch: of what is being trained, never of its average.

    A `Checkpoint`, to come after the stopwatch has stopped and before the run is saved. Nothing is drawn and nothing
    changed, so that the training is the same without it.

    Args:
        dashboard: where to.
        stopwatch: stands still meanwhile.
        times: how often in a run.
    """

    def __init__(self, dashboard: Dashboard, stopwatch: Stopwatch, times: int) -> None:
        self.dashboard = dashboard
        self.stopwatch = stopwatch
        self.times = times

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Write, if this step was the last of an epoch whose turn it is; its gradients are still there."""
        cut_short = trainer.global_step == trainer.max_steps
        if not (trainer.is_global_zero and (trainer.is_last_batch or cut_short)):
            return
        if cut_short or due(trainer.current_epoch, trainer.max_epochs or 0, self.times):
            with self.stopwatch.paused(trainer):
                for tag, values in watched(pl_module.network):  # type: ignore[arg-type]
                    write(self.dashboard, tag, values, trainer.global_step - 1)


def due(epoch: int, epochs: int, times: int) -> bool:
    """Whether an epoch, counted from 0, is the first or the last of one of so many equal parts of a run."""
    return epoch == 0 or (epoch + 1) * times // epochs > epoch * times // epochs


def watched(network: nn.Module) -> Iterator[tuple[str, Values]]:
    """What is worth a look, by its tag, [at most SAMPLE].

    Of each layer with a matrix or kernels: the weights, and the decimal logarithm of its gradients' magnitudes, which
    shows whether they vanish or explode. Of each batch norm: the scales; those near 0 have silenced their channel.
    """
    for name, layer in network.named_modules():
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, nn.Parameter):
            continue
        if weight.ndim > 1:
            yield f"weights/{name}", sample(weight)
            if weight.grad is not None:
                with np.errstate(divide="ignore"):  # of those that are 0 there is none
                    magnitudes = np.log10(np.abs(sample(weight.grad)))
                yield f"gradients_log10/{name}", magnitudes
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            yield f"batch_norm_scales/{name}", sample(weight)


def sample(values: Tensor) -> Values:
    """Evenly spaced ones of all values."""
    stride = max(1, -(-values.numel() // SAMPLE))
    while stride > 1 and any(stride % prime == 0 for prime in (2, 3, 5, 7)):
        stride += 1  # else it would come back to the same place of every kernel
    values = values.detach()
    if values.ndim == 4:
        values = values.permute(0, 2, 3, 1)  # kernels lie channels last: so they are flat without being copied
    return values.flatten()[::stride].float().cpu().numpy().astype(np.float64)


def write(dashboard: Dashboard, tag: str, values: Values, step: int) -> None:
    """Write the histogram of those values that are finite, if there are any."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    counts, edges = np.histogram(values, BINS)
    dashboard.experiment.add_histogram_raw(
        tag,
        min=values.min(),
        max=values.max(),
        num=len(values),
        sum=values.sum(),
        sum_squares=np.square(values).sum(),
        bucket_limits=edges[1:].tolist(),
        bucket_counts=counts.tolist(),
        global_step=step,
    )
