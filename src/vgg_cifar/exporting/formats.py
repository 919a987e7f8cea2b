"""The kinds of files: how each is written, and run again by its own runtime."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vgg_cifar.errors import UserError
from vgg_cifar.exporting.about import IMAGES, NORMALISED, architecture
from vgg_cifar.exporting.options import FormatName
from vgg_cifar.exporting.portable import Portable, plain
from vgg_cifar.trained import Trained

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Predict = Callable[[Tensor], Tensor]
"""Images uint8 [n, 32, 32, 3] to probabilities float32 [n, classes]."""
About = dict[str, str]


def write_onnx(trained: Trained, about: About, path: Path) -> None:
    """An ONNX file; what it says about itself stands in `metadata_props`."""
    import onnx

    with _silence():
        program = torch.onnx.export(
            _traced(trained), dynamo=True, input_names=["images"], output_names=["probabilities"], verbose=False
        )
    assert program is not None
    model = program.model_proto
    _forget_where_it_was_made(model)
    onnx.helper.set_model_props(model, about | IMAGES)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def run_onnx(path: Path, _: Trained) -> Predict:
    """ONNX Runtime on the CPU, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def predict(images: Tensor) -> Tensor:
        (probabilities,) = session.run(["probabilities"], {"images": images.numpy()})
        return torch.from_numpy(probabilities)

    return predict


def write_torch_export(trained: Trained, about: About, path: Path) -> None:
    """A program of `torch.export`; what it says about itself is the extra file `about.json`."""
    program = _traced(trained)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    torch.export.save(program, path, extra_files={"about.json": json.dumps(about | IMAGES)})


def run_torch_export(path: Path, _: Trained) -> Predict:
    """The program as `torch.export.load` reads it."""
    network = torch.export.load(path).module()

    def predict(images: Tensor) -> Tensor:
        with torch.no_grad():
            probabilities: Tensor = network(images)
        return probabilities

    return predict


def write_safetensors(trained: Trained, about: About, path: Path) -> None:
    """The bare network's weights under torchvision's names; what they say about themselves is in the header."""
    from safetensors.torch import save

    state = {name: tensor.contiguous().clone() for name, tensor in trained.network.state_dict().items()}
    path.write_bytes(save(state, about | NORMALISED | architecture(trained)))


def run_safetensors(path: Path, trained: Trained) -> Predict:
    """A network that is built anew, from what the file says where it is a VGG, and filled."""
    from safetensors import safe_open

    from vgg_cifar.vgg import VGG

    with safe_open(path, "pt") as file:
        about = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    if "vgg" in about:
        network: torch.nn.Module = VGG(**json.loads(about["vgg"]))
    else:
        network = trained.config.model.build(len(trained.classes), trained.config.dropout)
    network.load_state_dict(state)
    portable = Portable(network, json.loads(about["mean"]), json.loads(about["std"]))

    def predict(images: Tensor) -> Tensor:
        with torch.no_grad():
            probabilities: Tensor = portable(images)
        return probabilities

    return predict


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        file: its name.
        packages: whose versions decide what is in it and what runs it.
        write: makes the file.
        run: reads it back.
        is_program: whether it runs by itself, and not as the network that it fills.
    """

    file: str
    packages: tuple[str, ...]
    write: Callable[[Trained, About, Path], None]
    run: Callable[[Path, Trained], Predict]
    is_program: bool = True


FORMATS: dict[FormatName, Format] = {
    "onnx": Format("model.onnx", ("torch", "onnx", "onnxscript", "onnxruntime"), write_onnx, run_onnx),
    "torch_export": Format("model.pt2", ("torch",), write_torch_export, run_torch_export),
    "safetensors": Format(
        "model.safetensors", ("torch", "safetensors"), write_safetensors, run_safetensors, is_program=False
    ),
}


def need(formats: Sequence[FormatName]) -> None:
    """Refuse formats whose packages are not there.

    Raises:
        UserError: for the first such one.
    """
    for name in formats:
        for package in FORMATS[name].packages:
            if importlib.util.find_spec(package) is None:
                raise UserError(
                    f"format={name}: {package} is not installed; "
                    ".venv/bin/uv pip install --python .venv/bin/python -r pyproject.toml --extra export"
                )


def _traced(trained: Trained) -> ExportedProgram:
    """The network with its preprocessing as a graph that takes any number of images."""
    data = trained.config.data
    portable = Portable(plain(trained.network), data.mean, data.std)
    example = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)  # one image would be taken for the only number there is
    with torch.no_grad(), _silence():
        return torch.export.export(portable, (example,), dynamic_shapes={"images": {0: torch.export.Dim("n")}})


def _forget_where_it_was_made(model: Any) -> None:
    """Take out what the exporter notes of each node: source lines, and paths of this machine."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


@contextmanager
def _silence() -> Iterator[None]:
    """Exporters tell how they work."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
