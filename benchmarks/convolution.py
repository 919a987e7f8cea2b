"""How fast is a convolution over small images, forward and backward?

    python benchmarks/convolution.py [rounds=5] [sides=2,4,8] [channels=] [batch_sizes=32,128,512] [json=PATH]

From so many channels to as many, if none are given those of VGG16: 512 over 2x2 and 4x4 pixels, 256 over 8x8 and 128
over 16x16. In the arithmetic that train.py chooses, on a CPU: by minimal filtering, which over 16x16 pixels is for
float32 alone, and with images side by side, beside torch's. Which of them train.py takes, `faster` in `convolution.py`
says.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from rounds import Arguments, Side, about, keep, take_turns
from vgg_cifar import hardware
from vgg_cifar.command_line import guard
from vgg_cifar.minimal_filtering import SIDES, minimal_filtering
from vgg_cifar.side_by_side import side_by_side

REPEATS = 10
CHANNELS = {"2": 512, "4": 512, "8": 256, "16": 128}


class By(nn.Conv2d):
    """A convolution by one way, whether it is faster or not; from so many channels to as many."""

    def __init__(self, convolve: Callable[[Tensor, Tensor, Tensor], Tensor], channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)
        self.convolve = convolve

    def forward(self, images: Tensor) -> Tensor:
        """Outputs [n, channels, h, w] of images [n, channels, h, w]."""
        assert self.bias is not None
        return self.convolve(images, self.weight, self.bias)


def milliseconds(module: nn.Conv2d, images: Tensor, precision: str) -> float:
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
    given = Arguments(rounds="5", sides="2,4,8", channels="", batch_sizes="32,128,512", json="")
    rounds, sides, sizes = given.count("rounds"), given.chosen("sides", CHANNELS), given.counts("batch_sizes")
    record, tables = about(), []
    hardware.keep_freed_memory()
    precision = hardware.precision("cpu")[0]
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    several = given.counts("channels") if given.given["channels"] else None
    for side, channels in [(each, count) for each in sides for count in several or [CHANNELS[each]]]:
        minimal = {"minimal filtering": By(minimal_filtering, channels)} if int(side) in SIDES[dtype] else {}
        kinds: dict[str, nn.Conv2d] = {
            **minimal,
            "side by side": By(side_by_side, channels),
            "torch's": nn.Conv2d(channels, channels, 3, padding=1),
        }
        modules = {name: kind.to(memory_format=torch.channels_last) for name, kind in kinds.items()}
        for size in sizes:
            images = torch.randn(size, channels, int(side), int(side), dtype=dtype)
            images = images.to(memory_format=torch.channels_last).requires_grad_()
            ways: dict[str, Side] = {
                name: partial(milliseconds, module, images, precision) for name, module in modules.items()
            }
            title = f"{channels} channels, {side}x{side} pixels, batch {size}"
            tables.append(take_turns(title, "ms", ways, rounds, ["torch's"]))
            keep(given.file, record, tables)


if __name__ == "__main__":
    guard(main, __doc__)
