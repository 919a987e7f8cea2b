"""A run that is sure of itself, for pictures to be asked about."""

from pathlib import Path

import pytest
import torch
from conftest import TINY

from vgg_cifar.composition import compose_and_check
from vgg_cifar.prediction.predictor import Predictor
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.training import run


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of one epoch, whose last layer then speaks much louder: what is seen differs clearly between images."""
    typed = [*TINY, "trainer.max_epochs=1"]
    folder = RunFolder(tmp_path_factory.mktemp("trained") / "run")
    assert run(compose_and_check(typed).config, folder, typed) == 0
    for name in ("best", "last"):
        content = checkpoints.read(folder.checkpoint(name))
        content["state_dict"]["network.classifier.6.weight"] *= 100
        checkpoints.write(content, folder.checkpoint(name))
    return folder


@pytest.fixture(scope="package")
def predictor(trained: RunFolder) -> Predictor:
    """Its network, on the CPU."""
    return Predictor.load(trained.path, device="cpu")


@pytest.fixture
def noise(tmp_path: Path) -> torch.Tensor:
    """Images uint8 [50, 3, 32, 32] that have nothing in common."""
    return torch.randint(0, 256, (50, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
