"""How fast is a training step here, beside the loop everybody writes?

    python benchmarks/train_step.py [rounds=3] [shapes=plain,baseline] [batch_sizes=128] [steps=24] [json=PATH]

VGG16-BN on generated images, in two shapes: `plain` has a single 512 -> 100 layer behind its convolutions, `baseline`
the 512-4096-4096-100 head with dropout that published CIFAR recipes have. These sides take turns (A B C D A B C D ...):

* train.py: what a user of this project runs, a process per round, at the rate that its `result.json` states.
* bare loop: the same arithmetic on batches that lie on the device already; no Lightning, no data pipeline.
* tutorial loop: PIL images, torchvision's transforms, a DataLoader, float32, torch's own memory layout and plain SGD.
* ceiling: trains nothing; the rate at which a large matrix product in the arithmetic of the first two gets through a
  training step's FLOPs: 2 for each multiply-accumulate of the layer table, times 3 (forward, backward to the inputs,
  backward to the weights).

On a GPU also train.py with `compile=true`, and the bare loop as one CUDA graph per step: forward, backward and
optimizer without a word from Python. A GPU's defaults are batches of 128 and 1024, and 300 steps.

No rate contains the first twenty steps: of each round in train.py, of all rounds in the others, which live on. Every
side has the threads that torch takes for itself, or OMP_NUM_THREADS. Some minutes on two quiet cores.
Other work beside it spoils the figures: the load before it began is shown with them.
"""

import math
import os
import time
from collections.abc import Callable
from functools import partial
from itertools import chain, cycle, repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR100
from torchvision.models.vgg import cfgs, make_layers
from torchvision.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor

from rounds import SYNTHETIC, Arguments, Measured, Side, about, device, keep, rate, take_turns
from vgg_cifar import hardware, layer_table
from vgg_cifar.command_line import guard, register_resolvers
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import Config
from vgg_cifar.data.dataset import Split
from vgg_cifar.data.loader import Normalise
from vgg_cifar.model import VGGOptions
from vgg_cifar.runs.stopwatch import WARMUP_STEPS

Step = Callable[[], object]
Learn = Callable[[Tensor, Tensor], None]
SHAPES = {
    "plain": ["model.hidden=[]", "dropout=none"],
    "baseline": ["model.hidden=[4096,4096]", "dropout=head"],
}
MOST_IMAGES = 50_000
"""That train.py generates; more steps than they last are more epochs."""
DTYPE = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16, "32-true": torch.float32}


def bare_loop(config: Config, images: Split, device: torch.device, precision: str, *, graphed: bool = False) -> Step:
    """A step of train.py's arithmetic and nothing else."""
    network = config.model.build(classes=100, dropout=config.dropout).to(device)
    fused = precision != "16-mixed" and device.type in ("cpu", "cuda")
    optimizer = config.optimizer.build(config.weight_decay.groups(network), fused=fused)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")
    autocast = torch.autocast(device.type, DTYPE[precision], enabled=precision != "32-true")
    resident, size = images.to(device), int(config.data.batch_size)
    pixels = Normalise.of(config.data.mean, config.data.std, device)(resident.images)
    batches = cycle(zip(pixels.split(size), resident.labels.split(size), strict=True))

    def learn(inputs: Tensor, labels: Tensor) -> None:
        with autocast:
            loss = nn.functional.cross_entropy(network(inputs).float(), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    step = captured(learn, *next(batches)) if graphed else learn
    return lambda: step(*next(batches))


def captured(learn: Learn, inputs: Tensor, labels: Tensor) -> Learn:
    """The same step as one CUDA graph, which learns from whatever has been copied to where it looks.

    Args:
        learn: a step that never waits for the GPU and whose optimizer keeps no count of steps, like a fused SGD.
        inputs: a batch, for the shapes.
        labels: its labels.
    """
    inputs, labels = inputs.clone(), labels.clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):  # cuDNN chooses its algorithms and the optimizer makes its buffers outside of the graph
            learn(inputs, labels)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # a DataLoader's thread may pin memory meanwhile
        learn(inputs, labels)

    def replay(new_inputs: Tensor, new_labels: Tensor) -> None:
        inputs.copy_(new_inputs)
        labels.copy_(new_labels)
        graph.replay()

    return replay


class Pictures(CIFAR100):  # type: ignore[misc]  # torchvision has no types
    """torchvision's data set, which makes a PIL image whenever one is asked for, with other images in it."""

    def __init__(self, images: Split, transform: Callable[[Any], torch.Tensor]) -> None:
        self.data = images.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = images.labels.tolist()
        self.transform, self.target_transform = transform, None


def tutorial_loop(config: Config, images: Split, device: torch.device) -> Step:
    """A step as tutorials have it, with as many multiply-accumulates."""
    normalize = Normalize(config.data.mean, config.data.std)
    pictures = Pictures(images, Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), ToTensor(), normalize]))
    size, workers, pin = int(config.data.batch_size), min(os.cpu_count() or 1, 8), device.type == "cuda"
    loader = DataLoader[Any](pictures, size, True, num_workers=workers, persistent_workers=True, pin_memory=pin)
    batches = chain.from_iterable(repeat(loader))
    head: list[nn.Module] = []
    inputs = 512
    assert isinstance(config.model, VGGOptions)
    for outputs in config.model.hidden:
        head += [nn.Linear(inputs, outputs), nn.ReLU(True), nn.Dropout()]
        inputs = outputs
    layers = [make_layers(cfgs["D"], batch_norm=True), nn.Flatten(), *head, nn.Linear(inputs, 100)]
    network = nn.Sequential(*layers).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)

    def step() -> float:
        inputs, labels = (tensor.to(device) for tensor in next(batches))
        optimizer.zero_grad()
        loss = criterion(network(inputs), labels)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def matrix_product(side: int, device: torch.device, dtype: torch.dtype) -> Step:
    """A product of two square matrices: 2 * side**3 FLOPs."""
    left, right, product = (torch.rand(side, side, device=device).to(dtype) for _ in range(3))
    return lambda: torch.mm(left, right, out=product)


def warmed_up(step: Step, images: float, steps: int, device: torch.device) -> Side:
    """Take twenty steps of `images` images each; every call of what comes back takes `steps` more, in images/s."""
    for _ in range(WARMUP_STEPS):
        step()

    def measure() -> float:
        hardware.synchronise(device)
        start = time.perf_counter()
        for _ in range(steps):
            step()
        hardware.synchronise(device)
        return steps * images / (time.perf_counter() - start)

    return measure


def compare(shape: str, size: int, steps: int, rounds: int) -> Measured:
    """All sides, with one network and one size of batches."""
    where = device()
    precision = hardware.precision(where.type)[0]
    per_epoch = min(WARMUP_STEPS + steps, max(1, MOST_IMAGES // size))
    overrides = [
        *SYNTHETIC, f"data.batch_size={size}", f"data.train_size={per_epoch * size}", "augmentation=standard",
        "model=vgg16_bn", *SHAPES[shape], f"trainer.max_epochs={math.ceil((WARMUP_STEPS + steps) / per_epoch)}",
    ]  # fmt: skip
    config = compose_and_check(overrides)[1]
    images = config.data.load().train
    layers = layer_table.layers(config.model.build(classes=100, dropout=config.dropout))
    flops = 3 * 2 * sum(layer.macs for layer in layers)
    side = 8192 if where.type == "cuda" else 2048

    def ours(graphed: bool = False) -> Side:
        return warmed_up(bare_loop(config, images, where, precision, graphed=graphed), size, steps, where)

    sides: dict[str, Side] = {"train.py": partial(rate, *overrides)}
    if where.type == "cuda":
        sides["train.py, compiled"] = partial(rate, *overrides, "compile=true")
    sides["bare loop"] = ours()
    if where.type == "cuda" and precision != "16-mixed":  # whose scaler asks the GPU at every step
        sides["bare loop, CUDA graph"] = ours(graphed=True)
    sides["tutorial loop"] = warmed_up(tutorial_loop(config, images, where), size, steps, where)
    ceiling = matrix_product(side, where, DTYPE[precision])
    sides["ceiling"] = warmed_up(ceiling, 2 * side**3 / flops, steps, where)
    against = ["tutorial loop", "bare loop", "ceiling"]
    return take_turns(f"{shape}, batch {size}", "images/s", sides, rounds, against)


def main() -> None:
    gpu = device().type == "cuda"
    given = Arguments(
        rounds="3", shapes=",".join(SHAPES), batch_sizes="128,1024" if gpu else "128", steps="300" if gpu else "24",
        json="",
    )  # fmt: skip
    rounds, steps = given.count("rounds"), given.count("steps", WARMUP_STEPS + 1)  # with fewer, train.py times them all
    shapes, sizes = given.chosen("shapes", SHAPES), given.counts("batch_sizes")
    register_resolvers()
    record = about()
    torch.backends.cudnn.benchmark = True  # as in train.py
    tables = []
    for shape in shapes:
        for size in sizes:
            tables.append(compare(shape, size, steps, rounds))
            keep(given.file, record, tables)


if __name__ == "__main__":
    guard(main, __doc__)
