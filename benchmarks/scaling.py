"""What training costs by the number of devices, the size of the batch and the size of the training set.

    python benchmarks/scaling.py [rounds=3] [steps=24] [width=0.5] [batch_size=128] [devices=1,2]
                                 [batch_sizes=32,128,512] [train_sizes=2000,10000,50000] [json=PATH]

Everything is train.py on generated images, VGG16-BN of that width with a single layer behind its convolutions, a
process per round, at the rate that its `result.json` states: without the first twenty steps. `devices` are processes on
a CPU, which divide the threads among them; the batch of a step stays as it is. GPUs that are not there are left out. On
a GPU the width is 1, the sizes of batches go up to 1024, and there are 300 steps. Some minutes on two cores.
"""

import math
from functools import partial

import torch

from rounds import SYNTHETIC, Arguments, Side, about, device, keep, rate, take_turns
from vgg_cifar.command_line import guard
from vgg_cifar.errors import UserError
from vgg_cifar.runs.stopwatch import WARMUP_STEPS


def main() -> None:
    gpu = device().type == "cuda"
    given = Arguments(
        rounds="3", steps="300" if gpu else "24", width="1" if gpu else "0.5", batch_size="128", devices="1,2",
        batch_sizes="32,128,512,1024" if gpu else "32,128,512", train_sizes="2000,10000,50000", json="",
    )  # fmt: skip
    rounds, size, width = given.count("rounds"), given.count("batch_size"), given.given["width"]
    steps = WARMUP_STEPS + given.count("steps", WARMUP_STEPS + 1)
    devices, batch_sizes, train_sizes = (given.counts(key) for key in ("devices", "batch_sizes", "train_sizes"))
    there = [each for each in devices if not gpu or each <= torch.cuda.device_count()]
    if not there:
        raise UserError(f"devices: there are only {torch.cuda.device_count()} GPUs")

    def run(batch: int, images: int, *more: str) -> Side:
        return partial(
            rate, *SYNTHETIC, "dropout=none", "model.hidden=[]", f"model.width={width}",
            f"data.batch_size={batch}", f"data.train_size={images}", f"trainer.max_steps={steps}",
            f"trainer.max_epochs={math.ceil(steps / math.ceil(images / batch))}", *more,
        )  # fmt: skip

    def milliseconds(batch: int) -> float:
        return 1000 * batch / run(batch, steps * batch)()

    tables = []
    experiments: list[tuple[str, str, dict[str, Side]]] = [
        (
            f"devices, width {width}, batch {size}",
            "images/s",
            {f"{each}": run(size, steps * size, f"trainer.devices={each}") for each in there},
        ),
        (
            f"images in a batch, width {width}",
            "ms a step",
            {f"{each:,}": partial(milliseconds, each) for each in batch_sizes},
        ),
        (
            f"images in all, width {width}, batch {size}",
            "images/s",
            {f"{each:,}": run(size, each) for each in train_sizes},
        ),
    ]
    record = about()
    for title, unit, sides in experiments:
        tables.append(take_turns(title, unit, sides, rounds, [next(iter(sides))]))
        keep(given.file, record, tables)


if __name__ == "__main__":
    guard(main, __doc__)
