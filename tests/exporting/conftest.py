"""A small run and its exports, made once for all tests of them."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from vgg_cifar.composition import compose_and_check
from vgg_cifar.exporting import formats
from vgg_cifar.exporting.exporting import export
from vgg_cifar.exporting.options import ExportOptions
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.training import run


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A small run, with wide enough blocks that the convolution of our own is used."""
    typed = [
        "data=synthetic", "data.train_size=400", "data.test_size=150", "data.batch_size=40", "model=vgg11_bn",
        "model.width=0.125", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_epochs=3",
        "logger=csv", "evaluate=false", "optimizer.lr=0.02",
    ]  # fmt: skip
    folder = RunFolder(tmp_path_factory.mktemp("exporting") / "run")
    assert run(compose_and_check(typed).config, folder, typed) == 0
    return folder


@pytest.fixture(scope="session")
def exported(original: RunFolder) -> dict[str, dict[str, Any]]:
    """What an export of all formats says."""
    return export(original, ExportOptions(format=list(formats.FORMATS), int8=True, speed=False))


@pytest.fixture
def folder(original: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the run without its exports."""
    shutil.copytree(original.path, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    return RunFolder(tmp_path / "run")
