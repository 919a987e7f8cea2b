"""Images to augment, channels last as the steps take them, and torchvision's view of them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

Images = Callable[..., Tensor]


@pytest.fixture(scope="session")
def random_pixels() -> Images:
    """Make uint8 [count, height, width, 3] of which every value is drawn evenly."""

    def make(count: int, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)

    return make


@pytest.fixture(scope="session")
def pixels(random_pixels: Images) -> Tensor:
    """Images that operations could stumble over: noise, low contrast, few tones, one colour, a flat channel, a ramp."""
    images = random_pixels(7)
    images[1] = images[1] // 4 + 40
    images[2] = images[2] // 100 * 30
    images[3] = 7
    images[4, ..., 0] = 255
    images[5] = torch.arange(32, dtype=torch.uint8)[:, None, None] * 8
    images[6] = torch.where(images[6] > 250, images[6], 0)
    return images


@pytest.fixture(scope="session")
def like_torchvision() -> Callable[[Callable[..., Tensor], Tensor], Tensor]:
    """Apply a function of torchvision to one image [3, h, w] after the other."""

    def apply(function: Callable[..., Tensor], images: Tensor) -> Tensor:
        return torch.stack([function(image.permute(2, 0, 1)).permute(1, 2, 0) for image in images])

    return apply
