"""Exported files, as others read them: what they compute, what they say of themselves."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from made_exports import FILES, asked, dataset, said_by

from vgg_cifar.errors import UserError
from vgg_cifar.exporting import formats
from vgg_cifar.exporting.exporting import export
from vgg_cifar.exporting.options import ExportOptions
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.trained import restore
from vgg_cifar.vgg import VGG

PROJECT = Path(__file__).resolve().parents[2]
SNIPPETS = re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / "export.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("count", [1, 2, 7, 150])
def test_the_onnx_file_takes_any_number_of_raw_images(
    original: RunFolder, exported: dict[str, dict[str, Any]], count: int
) -> None:
    images = dataset(original).test.images[:count]
    session = onnxruntime.InferenceSession(original.export / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.permute(0, 2, 3, 1).contiguous().numpy()})
    assert found.dtype == np.float32
    assert np.abs(found - asked(original, images).numpy()).max() < 1e-5
    assert np.allclose(found.sum(1), 1, atol=1e-5)


def test_the_graph_has_a_convolution_for_each_of_the_network(
    original: RunFolder, exported: dict[str, dict[str, Any]]
) -> None:
    kinds = [node.op_type for node in onnx.load(original.export / "model.onnx").graph.node]
    assert kinds.count("Conv") == 8
    assert "MatMul" not in kinds


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_where_it_comes_from_and_what_its_outputs_mean(
    original: RunFolder, exported: dict[str, dict[str, Any]], name: str
) -> None:
    about, result = said_by(name, original.export / FILES[name]), original.read_result()
    assert (about["run"], about["name"], about["data"]) == ("run", "train", "synthetic")
    assert about["checkpoint"] == result["tested_checkpoint"] == "best"
    assert json.loads(about["epoch"]) == result["tested_epoch"]
    assert json.loads(about["test/top1"]) == result["test/top1"]
    assert about["commit"] == (original.read_manifest()["git"]["commit"] or "null")
    images = dataset(original)
    assert json.loads(about["classes"]) == images.classes
    assert json.loads(about["superclasses"]) == images.superclass_names
    options = restore(original).config.data
    assert (json.loads(about["mean"]), json.loads(about["std"])) == (options.mean, options.std)
    assert ("uint8 [n, 32, 32, 3]" in about["input"]) == (name != "safetensors")


@pytest.mark.parametrize("name", FILES)
def test_no_file_tells_where_it_was_made(original: RunFolder, exported: dict[str, dict[str, Any]], name: str) -> None:
    content = (original.export / FILES[name]).read_bytes()
    assert str(PROJECT).encode() not in content
    assert str(original.path.parent).encode() not in content


def test_weights_have_the_names_of_torchvisions(original: RunFolder, exported: dict[str, dict[str, Any]]) -> None:
    from safetensors.torch import load_file
    from torchvision.models import vgg11_bn

    state = load_file(original.export / "model.safetensors")
    assert sorted(state) == sorted(vgg11_bn().state_dict())
    own = restore(original).network.state_dict()
    assert all(torch.equal(state[name], own[name]) for name in own)


def test_a_missing_package_is_answered_with_how_to_install_it(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None if name == "onnx" else name)
    with pytest.raises(UserError, match=r"^format=onnx: onnx is not installed; .*uv pip install .*--extra export$"):
        export(folder, ExportOptions(format=["safetensors", "onnx"]))


def test_what_the_documentation_types_runs(
    original: RunFolder, exported: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(original.export)
    images = dataset(original).test.images[:3]
    known: dict[str, Any] = {"images": images.permute(0, 2, 3, 1).contiguous().numpy()}
    onnx_snippet, torch_snippet, weights_snippet = SNIPPETS
    expected = asked(original, images)
    names = dataset(original).classes
    exec(onnx_snippet, known)  # what a reader would do
    assert np.abs(known["probabilities"] - expected.numpy()).max() < 1e-5
    assert known["names"] == [names[place] for place in expected.argmax(1).tolist()]
    exec(torch_snippet, known)
    assert (known["probabilities"] - expected).abs().max() < 1e-5
    exec(weights_snippet, known)
    assert isinstance(known["network"], VGG)
    own = restore(original).network.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in known["network"].state_dict().items())
