"""A picture of what a configuration does to its training images."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from vgg_cifar.config import Config
from vgg_cifar.errors import UserError
from vgg_cifar.parts import make_datamodule


def draw(config: Config, images: int, epochs: int) -> Tensor:
    """Lay out training images as a run of this configuration sees them, before any resizing.

    Args:
        config: of the run.
        images: rows, the first images of the training set.
        epochs: columns, from epoch 0 on, to the right of the images as they are. Images are mixed with those above; of
            those that are seen whole too, the mixtures are shown.

    Returns:
        uint8 [3, h, w].

    Raises:
        UserError: if there are not so many images, or they are not to be had.
    """
    datamodule = make_datamodule(config)
    if images > len(datamodule.train):
        raise UserError(f"images: {images} were asked for, there are {len(datamodule.train)}")
    indices = torch.arange(images)
    originals = datamodule.train.images[indices]
    columns = [originals]
    for epoch in range(epochs):
        seen = datamodule.augment(originals, indices, epoch) if datamodule.augment else originals
        if datamodule.mix:  # with the image above, as if the rows were a step of the run
            mixed, _ = datamodule.mix(seen.float(), seen.float().roll(1, 0), indices, epoch)
            seen = mixed[-images:].round().to(torch.uint8)
        columns.append(seen)
    sheet: Tensor = make_grid(torch.stack(columns, dim=1).flatten(0, 1), nrow=1 + epochs, padding=1, pad_value=255)
    return sheet


def write(sheet: Tensor, file: Path) -> None:
    """Write uint8 [3, h, w] as a PNG, and say so.

    Raises:
        UserError: if the file cannot be written.
    """
    file = file.expanduser()
    try:
        Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(file, "PNG", optimize=True)
    except OSError as error:
        raise UserError(f"file: {file} cannot be written; name a .png in a folder that exists") from error
    print(f"{file}: each row an image as it is, then as the epochs see it")
