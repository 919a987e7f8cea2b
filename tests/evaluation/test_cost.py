"""Costs: counts that are known, and times that are plausible and leave the network as it was."""

import pytest
import torch
from torch import Tensor, nn

from vgg_cifar.data.loader import Normalise
from vgg_cifar.evaluation.cost import cost, measure
from vgg_cifar.vgg import VGG

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def normalise() -> Normalise:
    return Normalise.of([0.5, 0.5, 0.5], [0.2, 0.2, 0.2], CPU)


def test_vgg16_costs_what_is_published() -> None:
    with torch.device("meta"):
        network = VGG(depth=16, classes=100, hidden=[])
    found = cost(network)
    assert found.parameters == 14_774_436
    assert round(found.macs / 1e6, 2) == 313.25
    channels = sum(layer.num_features for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert found.weight_bytes == 4 * found.parameters + 4 * 2 * channels + 8 * norms  # means, variances, counters
    assert found.speed is None


def test_half_as_many_bits_take_half_as_many_bytes() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    assert cost(network).weight_bytes == 4 * 30_730
    assert cost(network.half()).weight_bytes == 2 * 30_730


class Watched(nn.Module):
    """Notes what it is given, and how."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3072, 10)
        self.seen: list[tuple[int, torch.dtype, bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1))
        self.seen.append((len(images), logits.dtype, self.training, torch.is_grad_enabled()))
        return logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_speed_is_that_of_single_images_and_of_batches_as_asked_for(dtype: torch.dtype, normalise: Normalise) -> None:
    network = Watched().train()
    speed = measure(network, normalise, CPU, dtype, batch_size=9, latency_runs=40, batch_runs=2)
    assert network.training
    assert network.seen == [(1, dtype, False, False)] * (4 + 40) + [(9, dtype, False, False)] * (3 + 2)
    assert (speed.device, speed.precision) == ("cpu", str(dtype).removeprefix("torch."))
    assert (speed.latency_runs, speed.batch_size, speed.batch_runs) == (40, 9, 2)
    assert 0 < speed.latency_ms_median <= speed.latency_ms_p95
    assert speed.images_per_second > 0
    assert cost(network, speed).speed == speed


def test_times_come_in_their_units(normalise: Normalise, monkeypatch: pytest.MonkeyPatch) -> None:
    warming = [100.0] * 3
    singles, batches = [0.001 * n for n in range(1, 21)], [0.5, 0.25, 1.0]
    readings = (reading for taken in [*warming, *singles, *warming, *batches] for reading in (0.0, taken))
    monkeypatch.setattr("vgg_cifar.evaluation.cost.time.perf_counter", lambda: next(readings))
    speed = measure(Watched(), normalise, CPU, batch_size=8, latency_runs=20, batch_runs=3)
    assert speed.latency_ms_median == pytest.approx(10.5)
    assert speed.latency_ms_p95 == pytest.approx(19)
    assert speed.images_per_second == pytest.approx(16)
