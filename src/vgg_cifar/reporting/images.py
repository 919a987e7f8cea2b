"""Images as files, and as a page holds them: in its own text, without loss."""

from __future__ import annotations

import base64
import io

from PIL import Image
from torch import Tensor


def address(image: Tensor) -> str:
    """The address of a picture, uint8 [3, h, w], that holds the picture itself."""
    return f"data:image/webp;base64,{base64.b64encode(_file(image, 'WEBP', lossless=True)).decode()}"


def png(image: Tensor) -> bytes:
    """A picture, uint8 [3, h, w], as a file."""
    return _file(image, "PNG")


def _file(image: Tensor, kind: str, **options: bool) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(file, kind, **options)
    return file.getvalue()


def strip(images: Tensor, gap: int = 1) -> Tensor:
    """Images [n, 3, h, w] beside each other, uint8 [3, h, n * (w + gap) - gap], with white between."""
    count, channels, height, width = images.shape
    sheet = images.new_full((channels, height, max(1, count * (width + gap) - gap)), 255)
    for place, image in enumerate(images):
        sheet[:, :, place * (width + gap) : place * (width + gap) + width] = image
    return sheet
