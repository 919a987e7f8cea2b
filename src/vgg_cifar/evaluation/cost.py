"""What a network costs: to store, to compute, and, if asked, in seconds on this machine."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_cifar import hardware
from vgg_cifar.layer_table import layers


@dataclass(frozen=True)
class Speed:
    """How fast a network answers, from uint8 images on the device to probabilities on the device.

    Attributes:
        device: "cpu", "cuda" or "mps".
        precision: "float32", "bfloat16" or "float16": the dtype of the products of matrices.
        latency_ms_median: milliseconds for one image alone, of half of the runs at most.
        latency_ms_p95: milliseconds for one image alone, of 95% of the runs at most.
        latency_runs: over how many runs.
        images_per_second: in batches, in the median run.
        batch_size: images in such a batch.
        batch_runs: over how many runs.
    """

    device: str
    precision: str
    latency_ms_median: float
    latency_ms_p95: float
    latency_runs: int
    images_per_second: float
    batch_size: int
    batch_runs: int


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: how many numbers it learns.
        macs: multiply-accumulates for one image of 32 x 32 pixels, of convolutions and matrix products.
        weight_bytes: of its parameters and of its buffers, batch norm's statistics, in the dtypes that they have.
        speed: measured, if asked for.
    """

    parameters: int
    macs: int
    weight_bytes: int
    speed: Speed | None = None


def cost(network: nn.Module, speed: Speed | None = None) -> Cost:
    """Count what a network costs; nothing is computed. `speed` is put in as it is."""
    rows = layers(network)
    return Cost(
        parameters=sum(row.parameters for row in rows),
        macs=sum(row.macs for row in rows),
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()),
        speed=speed,
    )


def measure(
    network: nn.Module,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    batch_size: int = 500,
    latency_runs: int = 100,
    batch_runs: int = 5,
) -> Speed:
    """Time a network on random images, in evaluation mode, after a tenth of the runs, and at least three, unmeasured.

    Args:
        network: on the device; its mode is given back as it was.
        normalise: from uint8 [n, 3, 32, 32] on the device to what the network takes.
        device: waited for at both ends of every run.
        dtype: of autocast; float32 is without it.
        batch_size: images in a batch whose throughput is measured.
        latency_runs: how often one image is timed, at least 1.
        batch_runs: how often a batch is timed, at least 1.
    """

    def seconds(count: int, runs: int) -> list[float]:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator).to(device)
        taken = []
        warming = max(3, runs // 10)
        for _ in range(warming + runs):
            hardware.synchronise(device)
            start = time.perf_counter()
            with _arithmetic(device, dtype):
                network(normalise(images)).float().softmax(dim=1)
            hardware.synchronise(device)
            taken.append(time.perf_counter() - start)
        return taken[warming:]

    mode = network.training
    network.eval()
    try:
        with torch.inference_mode():
            single = sorted(seconds(1, latency_runs))
            batch = seconds(batch_size, batch_runs)
    finally:
        network.train(mode)
    return Speed(
        device=device.type,
        precision=str(dtype).removeprefix("torch."),
        latency_ms_median=1000 * statistics.median(single),
        latency_ms_p95=1000 * single[math.ceil(0.95 * len(single)) - 1],
        latency_runs=latency_runs,
        images_per_second=batch_size / statistics.median(batch),
        batch_size=batch_size,
        batch_runs=batch_runs,
    )


def _arithmetic(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
