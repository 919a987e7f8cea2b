"""How fast are a ReLU and a max pooling over the images of a whole batch, forward and backward, in bfloat16 on a CPU?

    python benchmarks/relu.py [rounds=5] [batch_sizes=128,256] [json=PATH]

What stands at the end of VGG16's first block, over 64 channels of 32x32 pixels. Ours pools before it rectifies and
rectifies bits; torch's rectifies first. Both pass over six batches in turn, of 17 MB each at 128 images.
"""

import time
from functools import partial

import torch
from torch import Tensor, nn

from rounds import Arguments, Side, about, keep, take_turns
from vgg_cifar import hardware
from vgg_cifar.command_line import guard
from vgg_cifar.relu import ReLU

REPEATS = 5
BATCHES = 6


class Copy(nn.Module):
    """Gives what follows outputs that it may change in place, as batch norm does."""

    def forward(self, images: Tensor) -> Tensor:
        """The same images, elsewhere in memory."""
        return images.clone()


def milliseconds(module: nn.Module, batches: list[Tensor]) -> float:
    """The time of a forward and a backward pass over a batch, the mean of thirty after six that are not counted."""
    gradient = torch.ones_like(module(batches[0]))
    start = 0.0
    for repeat in range(1 + REPEATS):
        if repeat == 1:
            start = time.perf_counter()
        for images in batches:
            torch.autograd.grad(module(images), images, gradient)
    return (time.perf_counter() - start) * 1000 / REPEATS / len(batches)


def main() -> None:
    given = Arguments(rounds="5", batch_sizes="128,256", json="")
    rounds, sizes = given.count("rounds"), given.counts("batch_sizes")
    record, tables = about(), []
    hardware.keep_freed_memory()
    modules = {
        "pool, ours": nn.Sequential(Copy(), nn.MaxPool2d(2), ReLU()),
        "torch's, pool": nn.Sequential(Copy(), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        "ours": nn.Sequential(Copy(), ReLU()),
        "torch's": nn.Sequential(Copy(), nn.ReLU(inplace=True)),
    }
    for size in sizes:
        batches = [
            torch.randn(size, 64, 32, 32, dtype=torch.bfloat16).to(memory_format=torch.channels_last).requires_grad_()
            for _ in range(BATCHES)
        ]
        ways: dict[str, Side] = {name: partial(milliseconds, module, batches) for name, module in modules.items()}
        tables.append(
            take_turns(f"64 channels, 32x32 pixels, batch {size}", "ms", ways, rounds, ["torch's, pool", "torch's"])
        )
        keep(given.file, record, tables)


if __name__ == "__main__":
    guard(main, __doc__)
