"""The table of layers: what a network learns and computes, counted without computing it."""

import io
from collections.abc import Callable

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from vgg_cifar.layer_table import layers, table
from vgg_cifar.vgg import VGG

PARAMETERS = 14_774_436
"""Of VGG16-BN with a single 512 -> 100 layer on top, as published."""
MEGA_MACS = 313.25
"""Of the same, for one 32x32 image."""


@pytest.fixture(scope="module")
def vgg16() -> VGG:
    with torch.device("meta"):
        return VGG(depth=16, classes=100, hidden=[])


def test_vgg16_has_the_published_size_and_work(vgg16: VGG) -> None:
    rows = layers(vgg16)
    assert sum(row.parameters for row in rows) == PARAMETERS
    assert round(sum(row.macs for row in rows) / 1e6, 2) == MEGA_MACS


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize(
    "build",
    [
        lambda: VGG(depth=11, classes=10, hidden=[16], width=0.125),
        lambda: VGG(depth=16, classes=7, hidden=[20, 10], width=0.25, grid=2, pool="average", block_dropout=0.1),
        lambda: nn.Sequential(nn.Conv2d(3, 9, 5, stride=2, groups=3, bias=False), nn.Flatten(), nn.LazyLinear(3)),
    ],
    ids=["vgg11", "vgg16", "another network"],
)
def test_work_and_shapes_are_what_torch_counts_when_it_computes(build: Callable[[], nn.Module], side: int) -> None:
    network = build().eval()
    image = torch.randn(1, 3, side, side)
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str, module: nn.Module) -> RemovableHandle:
        return module.register_forward_hook(lambda *seen: shapes.update({name: tuple(seen[-1].shape[1:])}))

    with torch.no_grad():
        network(image)  # a lazy layer has no weights before
        # On the CPU a convolution may leave out products with the border's zeros.
        network, image = network.to("meta"), image.to("meta")
        watches = [watch(name, module) for name, module in network.named_modules()]
        with FlopCounterMode(display=False) as counted:
            network(image)
    for handle in watches:
        handle.remove()
    rows = layers(network, side)
    assert 2 * sum(row.macs for row in rows) == counted.get_total_flops()
    assert sum(row.parameters for row in rows) == sum(parameter.numel() for parameter in network.parameters())
    assert {row.name: row.output for row in rows} == {name: shapes[name] for name in (row.name for row in rows)}


def test_every_layer_is_listed_once_in_the_order_of_computing(vgg16: VGG) -> None:
    leaves = [(name, module) for name, module in vgg16.named_modules() if not list(module.children())]
    rows = layers(vgg16)
    assert [(row.name, row.kind) for row in rows] == [(name, type(module).__name__) for name, module in leaves]
    for row, (_, module) in zip(rows, leaves, strict=True):
        assert row.parameters == sum(parameter.numel() for parameter in module.parameters())
        assert bool(row.macs) == isinstance(module, nn.Conv2d | nn.Linear)


def test_listing_leaves_the_network_as_it_was() -> None:
    network = VGG(depth=11, classes=10, hidden=[8], width=0.125).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = layers(network)
    assert layers(network) == first
    assert network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_printed_table_ends_with_the_totals(vgg16: VGG) -> None:
    screen = io.StringIO()
    Console(file=screen, width=100).print(table(vgg16, "vgg16_bn"))
    lines = [line.strip() for line in screen.getvalue().splitlines() if line.strip()]
    assert lines[0] == "vgg16_bn"
    assert lines[-1].split() == ["total", f"{PARAMETERS:,}", str(MEGA_MACS), "M"]
    learning = [row for row in layers(vgg16) if row.parameters]
    for row in learning:
        (line,) = [line for line in lines if line.startswith(f"{row.name} ")]
        assert f"{row.parameters:,}" in line
        assert " x ".join(map(str, row.output)) in line
    assert not any("ReLU" in line for line in lines)
