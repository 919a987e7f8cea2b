"""Images to corrupt, and their places."""

import pytest
import torch
from torch import Tensor

from vgg_cifar.data.synthetic import generate


@pytest.fixture(scope="session")
def images() -> Tensor:
    """uint8 [100, 3, 32, 32]: one image of each synthetic class."""
    return generate(100, 0, seed=1).train.images


@pytest.fixture(scope="session")
def places(images: Tensor) -> Tensor:
    return torch.arange(len(images)) * 7 + 3
