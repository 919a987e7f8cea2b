"""What a network is made of: each layer's output shape, parameters and multiply-accumulates."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """One layer, for one image.

    Attributes:
        name: where it is in the network.
        kind: its class.
        output: its output's shape without the batch dimension.
        parameters: how many numbers it learns.
        macs: multiply-accumulates of its convolution or matrix product; other arithmetic is not counted.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    macs: int


def layers(network: nn.Module, side: int = 32) -> list[Layer]:
    """List the layers in the order in which they compute an image of `side` x `side` pixels.

    The network is copied to torch's meta device: nothing is computed.
    """
    network = copy.deepcopy(network).to("meta", torch.float32).eval()
    found: list[Layer] = []

    def record(name: str, module: nn.Module) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            macs = 0
            if isinstance(module, nn.Conv2d):
                macs = output[0].numel() * module.weight[0].numel()
            elif isinstance(module, nn.Linear):
                macs = output[0].numel() * inputs[0].shape[-1]
            parameters = sum(p.numel() for p in module.parameters())
            found.append(Layer(name, type(module).__name__, tuple(output.shape[1:]), parameters, macs))

        module.register_forward_hook(hook)

    for name, module in network.named_modules():
        if not list(module.children()):
            record(name, module)
    with torch.no_grad():
        network(torch.empty(1, 3, side, side, device="meta"))
    return found


def table(network: nn.Module, title: str) -> Table:
    """The layers that learn or change the shape, and the totals, for a terminal."""
    rows = layers(network)
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    drawn.add_column("layer")
    for heading in ("output", "parameters", "MACs"):
        drawn.add_column(heading, justify="right")
    for row in rows:
        if row.parameters or "Pool" in row.kind:
            shape = " x ".join(str(size) for size in row.output)
            drawn.add_row(
                f"{row.name} {row.kind}",
                shape,
                f"{row.parameters:,}" if row.parameters else "",
                _mega(row.macs),
            )
    drawn.add_section()
    drawn.add_row("total", "", f"{sum(r.parameters for r in rows):,}", _mega(sum(r.macs for r in rows)))
    return drawn


def _mega(macs: int) -> str:
    return f"{macs / 1e6:.2f} M" if macs else ""
