"""An export: every file is proven, and not kept if it computes anything else."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made_exports import FILES, dataset, said_by
from scripts import script
from torch import Tensor, nn

from vgg_cifar.command_line import guard
from vgg_cifar.errors import RunError
from vgg_cifar.exporting import exporting, formats, quantised
from vgg_cifar.exporting import proof as measuring
from vgg_cifar.exporting.exporting import export
from vgg_cifar.exporting.options import ExportOptions
from vgg_cifar.exporting.portable import Portable
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.trained import restore

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["onnx", "torch_export", "safetensors"])
def test_a_file_is_the_network_on_every_test_image(exported: dict[str, dict[str, Any]], name: str) -> None:
    proof = exported[name]["proof"]
    assert (proof["images"], proof["same_top1"], proof["bound"]) == (150, 150, 1e-4)
    assert 0 <= proof["difference"] < 1e-5
    assert proof["top1"] == proof["pytorch_top1"]


def test_the_account_has_every_file(original: RunFolder, exported: dict[str, dict[str, Any]]) -> None:
    assert json.loads((original.export / "export.json").read_text()) == exported
    assert sorted(path.name for path in original.export.iterdir()) == sorted([*FILES.values(), "export.json"])
    for name, entry in exported.items():
        content = (original.export / FILES[name]).read_bytes()
        assert (entry["file"], entry["bytes"]) == (FILES[name], len(content))
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["packages"]["torch"] == torch.__version__.partition("+")[0]


def test_integers_take_a_quarter_and_cost_little(exported: dict[str, dict[str, Any]]) -> None:
    small, whole = exported["onnx_int8"], exported["onnx"]
    assert small["bytes"] < 0.4 * whole["bytes"]
    assert small["proof"]["bound"] is None
    assert small["proof"]["difference"] > whole["proof"]["difference"]
    assert small["proof"]["same_top1"] > 0.8 * small["proof"]["images"]


def test_integers_are_calibrated_by_images_that_were_learned_from(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def quantise(model: Path, images: Any, path: Path) -> None:
        given.extend(images.images)
        raise ValueError("seen")

    monkeypatch.setattr(quantised, "quantise", quantise)
    monkeypatch.setitem(formats.FORMATS, "onnx", formats.FORMATS["safetensors"])
    with pytest.raises(RunError, match=r"model\.int8\.onnx cannot be made of this network, and is not there: seen"):
        export(folder, ExportOptions(format=["onnx"], int8=True, images=0, speed=False))
    learned, _ = dataset(folder).hold_out(0.1, restore(folder).config.data.seed)
    pictures = {image.numpy().tobytes() for image in learned.images}
    assert given
    assert all(image.numpy().tobytes() in pictures for image in given)


class Wrong(Portable):
    """Takes blue for red."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.flip(-1))


@pytest.mark.parametrize("name", ["onnx", "torch_export", "safetensors"])
def test_a_file_that_computes_something_else_is_not_kept(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(formats, "Portable", Wrong)
    with pytest.raises(RunError, match=rf"{FILES[name]} is not the network, and is removed: on 150 test images"):
        export(folder, ExportOptions(format=[name], speed=False))
    assert not folder.export.exists()


def damaging(change: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let weights be written as they are not."""
    whole = formats.FORMATS["safetensors"]

    def write(trained: Any, about: Any, path: Path) -> None:
        whole.write(trained, about, path)
        path.write_bytes(change(path.read_bytes()))

    monkeypatch.setitem(formats.FORMATS, "safetensors", formats.Format(whole.file, whole.packages, write, whole.run))


def test_what_an_earlier_export_left_stays_where_a_later_one_fails(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(folder, ExportOptions(format=["safetensors"], speed=False))
    before = {path.name: path.read_bytes() for path in folder.export.iterdir()}
    damaging(lambda content: content[:-40_000] + bytes(40_000), monkeypatch)  # the last tensors are zeros
    with pytest.raises(RunError, match="is not the network"):
        export(folder, ExportOptions(format=["safetensors"], speed=False))
    damaging(lambda content: content[:1000], monkeypatch)
    with pytest.raises(RunError, match=r"model\.safetensors cannot be run, and is not there: "):
        export(folder, ExportOptions(format=["safetensors"], speed=False))
    assert {path.name: path.read_bytes() for path in folder.export.iterdir()} == before


def test_numbers_that_are_none_prove_nothing(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    damaging(lambda content: content[:-40_000] + b"\xff" * 40_000, monkeypatch)
    with pytest.raises(RunError, match="differ by up to inf"):
        export(folder, ExportOptions(format=["safetensors"], speed=False))


def test_formats_are_added_and_those_that_were_removed_forgotten(folder: RunFolder, tmp_path: Path) -> None:
    to = tmp_path / "new" / "files"
    export(folder, ExportOptions(format=["torch_export"], images=10, speed=False), to=str(to))
    export(folder, ExportOptions(format=["safetensors"], images=10, speed=False), "last", to=str(to))
    account = json.loads((to / "export.json").read_text())
    assert {name: entry["checkpoint"] for name, entry in account.items()} == {
        "torch_export": "best",
        "safetensors": "last",
    }
    (to / "model.pt2").unlink()
    export(folder, ExportOptions(format=["safetensors"], images=10, speed=False), to=str(to))
    assert list(json.loads((to / "export.json").read_text())) == ["safetensors"]
    assert not folder.export.exists()


def test_an_accuracy_is_told_only_of_the_checkpoint_that_was_tested(folder: RunFolder) -> None:
    elsewhere = folder.path / "best.ckpt"
    shutil.copy(folder.checkpoint("best"), elsewhere)
    export(folder, ExportOptions(format=["safetensors"], images=0, speed=False), str(elsewhere))
    assert said_by("safetensors", folder.export / "model.safetensors")["test/top1"] == "null"


def test_without_images_there_is_no_proof_and_that_is_said(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = folder.read_config()
    config["data"] = {key: value for key, value in config["data"].items() if key not in ("train_size", "test_size")}
    config["data"] |= {"name": "cifar100", "root": None, "download": False, "train_size": None, "test_size": None}
    folder.write_config(config)
    typed = [f"run={folder.path}", "format=safetensors", f"data.root={folder.path / 'nowhere'}", "speed=false"]
    assert answer(typed, monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: data.root: neither cifar-100-python/ nor ")
    assert line.endswith("; images=0 exports without a proof")
    assert not folder.export.exists()
    assert answer([*typed, "images=0"], monkeypatch) == 0
    said = capsys.readouterr()
    assert "Not proven: images=0" in said.out
    assert json.loads((folder.export / "export.json").read_text())["safetensors"]["proof"] is None


def answer(typed: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command line."""
    monkeypatch.setattr(sys, "argv", ["export.py", *typed])
    with pytest.raises(SystemExit) as ended:
        guard(script("export").main)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["run=nowhere", "images=some"], "images: should be a valid integer or 'all', is 'some'"),
        (["run=nowhere", "int8=yes"], "int8: should be a valid boolean, is 'yes'"),
        (["run=nowhere", "format="], "format: should have at least 1 item, not 0, is ''"),
        (["format=onx"], "format: should be 'onnx', 'torch_export' or 'safetensors', is 'onx'"),
        (["format=onnx,onx"], "format: should be 'onnx', 'torch_export' or 'safetensors', is 'onnx,onx'"),
        (["format=safetensors", "int8=true"], "int8: is made from an ONNX file; add format=onnx"),
        (["format=safetensors", "images=151"], "images: 151 images were asked for, there are 150"),
        (["format=safetensors", "checkpoint=first"], "checkpoint: there is no {here}/first; "
                                                     "the run has best, last, previous"),
        (["frmat=onnx"], "frmat=onnx: expected run=..., checkpoint=..., data.root=..., to=..., allow=..., format=..., "
                         "images=..., int8=..., speed=...; did you mean format?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_made(
    typed: list[str],
    line: str,
    original: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    named = [] if typed[0] == "run=nowhere" else [f"run={original.path}", f"to={tmp_path / 'to'}"]
    assert answer([*named, *typed], monkeypatch) == 2
    assert capsys.readouterr().err == f"error: {line.format(here=tmp_path)}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_exported_is_one_line(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Choosy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images if float(images.sum()) > 0 else -images

    monkeypatch.setattr(formats, "plain", lambda network: Choosy())
    with pytest.raises(RunError, match=r"^model\.pt2 cannot be made of this network, and is not there: .+") as caught:
        export(folder, ExportOptions(format=["torch_export"], speed=False))
    assert len(str(caught.value).splitlines()) == 1
    assert not folder.export.exists()


def test_the_command_says_little_and_all_that_matters(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measuring, "SECONDS", 0.0)
    assert answer([f"run={folder.path}", "format=onnx", "images=50"], monkeypatch) == 0
    said = capfd.readouterr()
    lines = said.out.splitlines()
    assert (said.err, len(lines)) == ("", 5)
    assert lines[0].split() == ["MB", "difference", "agree", "top-1", "images/s,", "1", "images/s,", "100"]
    assert (lines[1].split()[0], lines[2].split()[0], lines[2].split()[3]) == ("PyTorch", "model.onnx", "50")
    assert "50 test images" in lines[3]
    assert lines[4] == f"Files: {folder.export}"
    entry = json.loads((folder.export / "export.json").read_text())["onnx"]
    for speeds in (entry["images_per_second"], entry["pytorch_images_per_second"]):
        assert list(speeds) == ["1", "100"]
        assert all(value > 0 for value in speeds.values())


def test_the_images_of_a_proof_are_of_every_class(original: RunFolder) -> None:
    chosen = exporting._some(dataset(original), 100)
    assert chosen.labels.unique().tolist() == list(range(100))
