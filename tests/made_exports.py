"""What tests of exports ask of a run, past the code that exports it."""

import json
from pathlib import Path

import onnx
import torch
from torch import Tensor

from vgg_cifar.data.dataset import Dataset
from vgg_cifar.data.loader import Normalise
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.trained import restore

FILES = {
    "onnx": "model.onnx", "onnx_int8": "model.int8.onnx", "torch_export": "model.pt2",
    "safetensors": "model.safetensors",
}  # fmt: skip


def dataset(folder: RunFolder) -> Dataset:
    options = restore(folder).config.data
    return options.load().part(options.train_size, options.test_size, options.seed)


def asked(folder: RunFolder, images: Tensor) -> Tensor:
    """What the run's network says of images [n, 3, 32, 32], in float32."""
    trained = restore(folder)
    normalise = Normalise.of(trained.config.data.mean, trained.config.data.std, torch.device("cpu"))
    with torch.no_grad():
        return torch.softmax(trained.network(normalise(images)), 1)


def said_by(name: str, path: Path) -> dict[str, str]:
    if name.startswith("onnx"):
        return {each.key: each.value for each in onnx.load(path).metadata_props}
    if name == "safetensors":
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            return dict(file.metadata())
    extra = {"about.json": ""}
    torch.export.load(path, extra_files=extra)
    return dict(json.loads(extra["about.json"]))
