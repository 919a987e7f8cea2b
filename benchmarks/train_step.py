"""How fast is a training step here, beside the loop everybody writes?

    python benchmarks/train_step.py [rounds=3] [steps=24] [batch_size=128] [json=PATH]

Four sides take turns (A B C D A B C D ...). Three train VGG16-BN with a 512 -> 100 head on the same generated images:

* train.py: what a user of this project runs, a process per round, at the rate that its `result.json` states.
* bare loop: the same arithmetic on batches that lie on the device already; no Lightning, no data pipeline.
* tutorial loop: PIL images, torchvision's transforms, a DataLoader, float32, torch's own memory layout and plain SGD.

The fourth trains nothing. The ceiling is the rate at which a large matrix product in the arithmetic of the first two
gets through a training step's FLOPs: 2 for each multiply-accumulate of the layer table, times 3 (forward, backward to
the inputs, backward to the weights).

No rate contains the first twenty steps: of each round in train.py, of all rounds in the others, which live on. About
six minutes on two quiet cores. Other work beside it spoils the figures: the load before it began is shown with them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import chain, cycle, repeat
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR100
from torchvision.models.vgg import cfgs, make_layers
from torchvision.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from vgg_cifar import hardware, layer_table
from vgg_cifar.command_line import guard, key_values, register_resolvers
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import Config
from vgg_cifar.data.dataset import Split
from vgg_cifar.data.loader import Normalise
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.manifest import git_state, now
from vgg_cifar.runs.record import WARMUP_STEPS

Step = Callable[[], object]
DTYPE = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16, "32-true": torch.float32}


def train_py(overrides: list[str]) -> float:
    """Images/s of a run of one epoch, as its result states them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(PROJECT / "src/train.py"), *overrides, f"hydra.run.dir={folder}/run"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return float(RunFolder(f"{folder}/run").read_result()["images_per_second"])


def bare_loop(config: Config, images: Split, device: torch.device, precision: str) -> Step:
    """A step of train.py's arithmetic and nothing else."""
    network = config.model.build(classes=100, dropout=config.dropout).to(device)
    fused = precision != "16-mixed" and device.type in ("cpu", "cuda")
    optimizer = config.optimizer.build(config.weight_decay.groups(network), fused=fused)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")
    autocast = torch.autocast(device.type, DTYPE[precision], enabled=precision != "32-true")
    resident, size = images.to(device), config.data.batch_size
    pixels = Normalise.of(config.data.mean, config.data.std, device)(resident.images)
    batches = cycle(zip(pixels.split(size), resident.labels.split(size), strict=True))

    def step() -> None:
        inputs, labels = next(batches)
        with autocast:
            loss = nn.functional.cross_entropy(network(inputs).float(), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


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
    network = nn.Sequential(make_layers(cfgs["D"], batch_norm=True), nn.Flatten(), nn.Linear(512, 100)).to(device)
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


def warmed_up(step: Step, images: float, steps: int, device: torch.device) -> Callable[[], float]:
    """Take twenty steps of `images` images each; every call of what comes back takes `steps` more, in images/s."""
    for _ in range(WARMUP_STEPS):
        step()

    def rate() -> float:
        hardware.synchronise(device)
        start = time.perf_counter()
        for _ in range(steps):
            step()
        hardware.synchronise(device)
        return steps * images / (time.perf_counter() - start)

    return rate


def main() -> None:
    device = torch.device(hardware.accelerator("auto"))
    precision, reason = hardware.precision(device.type)
    usual_steps, side = ("500", 8192) if device.type == "cuda" else ("24", 2048)
    given = key_values(sys.argv[1:], {"rounds": "3", "steps": usual_steps, "batch_size": "128", "json": None})
    least = {"rounds": 1, "steps": WARMUP_STEPS + 1, "batch_size": 1}  # with fewer steps, train.py times them all
    for key, low in least.items():
        if not str(given[key]).isdecimal() or int(str(given[key])) < low:
            raise UserError(f"{key}: should be a whole number from {low} up, is {given[key]}")
    rounds, steps, size = (int(str(given[key])) for key in least)
    file = Path(given["json"]).absolute() if given["json"] else None
    if file and not file.parent.is_dir():
        raise UserError(f"json: there is no folder {file.parent}")

    overrides = [
        "data=synthetic", f"data.batch_size={size}", f"data.train_size={(WARMUP_STEPS + steps) * size}",
        "data.test_size=100", "data.val_fraction=0", "augmentation=standard", "model=vgg16_bn", "model.hidden=[]",
        "dropout=none", "logger=csv", "trainer.max_epochs=1",
    ]  # fmt: skip
    register_resolvers()
    config = compose_and_check(overrides)[1]
    images = config.data.load().train
    layers = layer_table.layers(config.model.build(classes=100, dropout=config.dropout))
    flops = 3 * 2 * sum(layer.macs for layer in layers)
    about: dict[str, Any] = {
        "command": ["python", "benchmarks/train_step.py", *sys.argv[1:]], "git": git_state(), "start": now(),
        "torch": torch.__version__, "hardware": hardware.description(), "load": os.getloadavg()[0],
        "precision": precision, "train_overrides": overrides, "flops_per_image": flops, "steps": steps,
    }  # fmt: skip
    console = Console(soft_wrap=True)
    processor = ", ".join(about["hardware"]["gpus"]) or f"{hardware.cpu_model()}, {torch.get_num_threads()} threads"
    console.print(f"{processor}; {precision}: {reason}; load before: {about['load']:.1f}")

    torch.backends.cudnn.benchmark = True  # as in train.py
    sides: dict[str, Callable[[], float]] = {
        "train.py": partial(train_py, overrides),
        "bare loop": warmed_up(bare_loop(config, images, device, precision), size, steps, device),
        "tutorial loop": warmed_up(tutorial_loop(config, images, device), size, steps, device),
        "ceiling": warmed_up(matrix_product(side, device, DTYPE[precision]), 2 * side**3 / flops, steps, device),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name, measure in sides.items():
            rates[name].append(measure())
            console.print(f"round {turn + 1} of {rounds}: {name} {rates[name][-1]:,.0f} images/s")

    ratios = {name: [a / b for a, b in zip(rate, rates["tutorial loop"], strict=True)] for name, rate in rates.items()}
    table = Table("images/s", box=None, pad_edge=False, header_style="bold")
    for heading in ("median", "min", "max", "x tutorial loop"):
        table.add_column(heading, justify="right")
    for name, rate in rates.items():
        table.add_row(name, *(f"{of(rate):,.0f}" for of in (median, min, max)), f"{median(ratios[name]):.2f}")
    console.print(table)
    if file:
        file.write_text(json.dumps(about | {"images_per_second": rates, "ratio_to_tutorial": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    guard(main)
