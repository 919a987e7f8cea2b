"""Colours: what torchvision's functions make of each image, bit for bit."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional as reference

from vgg_cifar.augmentation import colour

Apply = Callable[[Callable[..., Tensor], Tensor], Tensor]
FACTORS = [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.97, 1.0, 1.03, 1.3, 1.7, 1.99]


def factors(pixels: Tensor, factor: float) -> Tensor:
    return torch.tensor([[factor, 1.0 - factor]]).expand(len(pixels), -1)


@pytest.mark.parametrize("factor", FACTORS)
def test_saturation_sharpness_and_contrast_equal_torchvisions(
    factor: float, pixels: Tensor, like_torchvision: Apply
) -> None:
    parts = factors(pixels, factor)
    pairs = [
        (colour.saturate(pixels, parts), reference.adjust_saturation),
        (colour.sharpen(pixels, parts), reference.adjust_sharpness),
        (colour.through(pixels, colour.contrast_tables(pixels, parts)), reference.adjust_contrast),
    ]
    for ours, function in pairs:
        assert ours.dtype == torch.uint8
        assert torch.equal(ours, like_torchvision(lambda image, function=function: function(image, factor), pixels))


@pytest.mark.parametrize(
    ("tables", "function"),
    [
        (colour.autocontrast_tables, reference.autocontrast),
        (colour.equalize_tables, reference.equalize),
    ],
)
def test_tables_that_depend_on_the_image_equal_torchvisions(
    tables: Callable[[Tensor], Tensor],
    function: Callable[[Tensor], Tensor],
    pixels: Tensor,
    random_pixels: Callable[..., Tensor],
    like_torchvision: Apply,
) -> None:
    for images in (pixels, random_pixels(20, seed=1) // 2, random_pixels(5, 15, 17), random_pixels(5, 3, 5)):
        ours = colour.through(images, tables(images))
        assert ours.dtype == torch.uint8
        assert torch.equal(ours, like_torchvision(function, images))


def test_grey_equals_torchvisions(pixels: Tensor, like_torchvision: Apply) -> None:
    assert torch.equal(colour.grey(pixels), like_torchvision(reference.rgb_to_grayscale, pixels))


def test_every_image_and_channel_goes_through_its_own_table() -> None:
    pixels = torch.arange(12, dtype=torch.uint8).reshape(2, 1, 2, 3)
    tables = torch.zeros(2, 256, 3, dtype=torch.uint8)
    for image in range(2):
        for channel in range(3):
            tables[image, :, channel] = colour.ramp(pixels.device) + 100 * image + 30 * channel
    expected = pixels + torch.tensor([0, 30, 60]) + torch.tensor([0, 100]).reshape(2, 1, 1, 1)
    assert colour.through(pixels, tables).tolist() == expected.tolist()
