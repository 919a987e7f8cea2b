"""How long is an optimizer's step, without the network's?

    python benchmarks/optimizer.py [rounds=5] [json=PATH]

Of a VGG16-BN, on random gradients (in whose place Muon puts their mean), on a GPU if there is one: SGD and Adam,
`optimizer=muon` with its three iterations and with two, and `torch.optim.Muon` with five. That takes matrices: SGD has
the rest. It is always in bfloat16, ours where the hardware multiplies it: on a CPU that does not, its step takes
minutes, and is left out.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import nn

from rounds import Arguments, Side, about, device, keep, take_turns
from vgg_cifar import hardware
from vgg_cifar.command_line import guard
from vgg_cifar.muon import Muon
from vgg_cifar.vgg import VGG

REPEATS = 5
Optimizers = Iterable[torch.optim.Optimizer]


def torchs_muon(parameters: list[nn.Parameter]) -> Optimizers:
    """That of torch on the filters, as matrices in the same memory, and SGD on the rest."""
    matrices = []
    for filters in (p for p in parameters if p.ndim == 4):
        assert filters.grad is not None
        matrix = nn.Parameter(filters.detach().permute(0, 2, 3, 1).flatten(1))
        matrix.grad = filters.grad.permute(0, 2, 3, 1).flatten(1)
        matrices.append(matrix)
    rest = [p for p in parameters if p.ndim != 4]
    return (
        torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.0, ns_steps=5),
        torch.optim.SGD(rest, lr=1e-3, momentum=0.9, nesterov=True, fused=True),
    )


def muon(iterations: int, parameters: list[nn.Parameter]) -> Optimizers:
    """That of `optimizer=muon`."""
    return (Muon([{"params": parameters}], lr=1e-3, iterations=iterations, fused=True),)


KINDS: dict[str, Callable[[list[nn.Parameter]], Optimizers]] = {
    "sgd": lambda parameters: (torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, nesterov=True, fused=True),),
    "adam": lambda parameters: (torch.optim.Adam(parameters, fused=True),),
    "muon, 2 iterations": partial(muon, 2),
    "muon, 3 iterations": partial(muon, 3),
    "torch.optim.Muon": torchs_muon,
}


def milliseconds(optimizers: Optimizers, where: torch.device) -> float:
    """The time of a step, the mean of five after one that is not counted."""
    start = 0.0
    for repeat in range(1 + REPEATS):
        if repeat == 1:
            hardware.synchronise(where)
            start = time.perf_counter()
        for optimizer in optimizers:
            optimizer.step()
    hardware.synchronise(where)
    return (time.perf_counter() - start) * 1000 / REPEATS


def main() -> None:
    given = Arguments(rounds="5", json="")
    rounds, where = given.count("rounds"), device()
    record = about()
    hardware.keep_freed_memory()
    sides: dict[str, Side] = {}
    slow = where.type == "cpu" and hardware.precision("cpu")[0] != "bf16-mixed"
    kinds = {name: kind for name, kind in KINDS.items() if not (slow and name == "torch.optim.Muon")}
    for name, kind in kinds.items():
        torch.manual_seed(0)
        network = VGG(hidden=[]).to(where).to(memory_format=torch.channels_last)
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        sides[name] = partial(milliseconds, kind(list(network.parameters())), where)
    references = [name for name in ("sgd", "torch.optim.Muon") if name in kinds]
    keep(given.file, record, [take_turns("a step", "ms", sides, rounds, references)])


if __name__ == "__main__":
    guard(main, __doc__)
