"""How weights and gradients are distributed, on TensorBoard, some times in a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn
from torch.optim import Optimizer

from vgg_cifar.runs.stopwatch import Stopwatch
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
        self._gradients: dict[str, Values] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Have a step whose gradients are looked at taken as it is."""
        pl_module.stepping.as_it_is = self._is_time(trainer, trainer.global_step + 1)  # type: ignore[union-attr]

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Look at the gradients while they are such: an optimizer may use their place for something else."""
        if self._is_time(trainer, trainer.global_step + 1):
            with self.stopwatch.paused(trainer):
                self._gradients = gradients(pl_module.network)  # type: ignore[arg-type]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Write, if this step was the last of an epoch whose turn it is."""
        if self._is_time(trainer, trainer.global_step):
            with self.stopwatch.paused(trainer):
                found = self._gradients | weights(pl_module.network)  # type: ignore[arg-type]
                for tag, values in found.items():
                    write(self.dashboard, tag, values, trainer.global_step - 1)

    def _is_time(self, trainer: Trainer, steps: int) -> bool:
        cut_short = steps == trainer.max_steps
        if not (trainer.is_global_zero and (trainer.is_last_batch or cut_short)):
            return False
        if cut_short:
            return True
        assert trainer.max_epochs  # of a run that ends by its epochs
        return due(trainer.current_epoch, trainer.max_epochs, self.times)


def due(epoch: int, epochs: int, times: int) -> bool:
    """Whether an epoch, counted from 0, is the first or the last of one of so many equal parts of a run."""
    return epoch == 0 or (epoch + 1) * times // epochs > epoch * times // epochs


def gradients(network: nn.Module) -> dict[str, Values]:
    """Of each layer with a matrix or kernels: the decimal logarithms of its gradients' magnitudes, by tag.

    They show whether gradients vanish or explode, which the gradients themselves, all near 0, do not.
    """
    found = {}
    for name, _, weight in _layers(network):
        if weight.ndim > 1 and weight.grad is not None:
            with np.errstate(divide="ignore"):  # of those that are 0 there is none
                found[f"gradients_log10/{name}"] = np.log10(np.abs(sample(weight.grad)))
    return found


def weights(network: nn.Module) -> dict[str, Values]:
    """Of each layer with a matrix or kernels: its weights; of each batch norm: its scales; by tag."""
    found = {}
    for name, layer, weight in _layers(network):
        if weight.ndim > 1:
            found[f"weights/{name}"] = sample(weight)
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            found[f"batch_norm_scales/{name}"] = sample(weight)
    return found


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


def _layers(network: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    for name, layer in network.named_modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, nn.Parameter):
            yield name, layer, weight
