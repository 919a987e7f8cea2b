"""How fast is a convolution over images of 2x2 pixels, forward and backward?

    python benchmarks/convolution.py [rounds=5] [batch_sizes=32,128,512] [json=PATH]

One of VGG16's last three, 512 to 512 channels, in the arithmetic that train.py chooses, on a CPU: ours beside torch's.
"""

import time
from functools import partial

import torch
from torch import nn

from rounds import Arguments, Side, about, keep, take_turns
from vgg_cifar import hardware
from vgg_cifar.command_line import guard
from vgg_cifar.convolution import Conv2d

REPEATS = 10


def milliseconds(module: nn.Conv2d, images: torch.Tensor, precision: str) -> float:
    """The time of a forward and a backward pass, the mean of ten after one that is not counted."""
    start = 0.0
    for repeat in range(1 + REPEATS):
        if repeat == 1:
            start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            outputs = module(images)
        outputs.backward(torch.ones_like(outputs))
        module.zero_grad()
    return (time.perf_counter() - start) * 1000 / REPEATS


def main() -> None:
    given = Arguments(rounds="5", batch_sizes="32,128,512", json="")
    rounds, sizes = given.count("rounds"), given.counts("batch_sizes")
    record, tables = about(), []
    precision = hardware.precision("cpu")[0]
    modules = {"ours": Conv2d(512, 512), "torch's": nn.Conv2d(512, 512, 3, padding=1)}
    for module in modules.values():
        module.to(memory_format=torch.channels_last)
    for size in sizes:
        dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
        images = torch.randn(size, 512, 2, 2, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
        sides: dict[str, Side] = {
            name: partial(milliseconds, module, images, precision) for name, module in modules.items()
        }
        tables.append(take_turns(f"batch {size}", "ms", sides, rounds, ["torch's"]))
        keep(given.file, record, tables)


if __name__ == "__main__":
    guard(main)
