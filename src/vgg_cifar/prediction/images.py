"""From a picture of any kind to the 32x32 pixels that a network sees.

What happens to a file, in this order:

1. It has to be a file with something in it, of one of `FORMATS`; what its name ends in does not matter.
2. A JPEG much larger than needed is decoded at half, a quarter or an eighth of its side, with 128 pixels or more left
   on the shorter one. What then has more pixels than Pillow's `MAX_IMAGE_PIXELS` is refused before it is decoded.
3. It is decoded: of an animation, or of a file with several pages, the first.
4. It is turned upright as its EXIF orientation says.
5. The largest centred square is cut out.
6. Its colours become 8-bit RGB: transparency is laid on white; 16-bit grey is divided by 257, so that white stays
   white; floating-point grey is taken to go from 0 (black) to 1, and refused where it goes beyond. Colour profiles are
   not applied.
7. It is resized to 32x32, bicubic with antialiasing, unless it is 32x32 already: then not a pixel changes.
"""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vgg_cifar.errors import UserError

SIDE = 32
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""Not all that Pillow reads: some others start programs (EPS), or take any file for an image (TGA)."""
ENOUGH = 4 * SIDE
"""Pixels on the shorter side of a JPEG, if it has them; the rest of the way is resized."""


class UnreadableError(UserError):
    """Why something is no image, in a few words, without its name."""


def read(path: str | Path) -> Tensor:
    """A file's picture, uint8 [3, 32, 32].

    Raises:
        UnreadableError: with the reason.
    """
    try:
        # A pipe without a writer would be waited for.
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a name that no file has
        raise UnreadableError("there is no such file") from error
    except IsADirectoryError as error:
        raise UnreadableError("it is a folder") from error
    except OSError as error:
        raise UnreadableError(f"it cannot be opened: {error.strerror}") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnreadableError("it is no file")
        return decode(file)


def decode(content: IO[bytes]) -> Tensor:
    """The picture in the bytes of a file, uint8 [3, 32, 32].

    Raises:
        UnreadableError: with the reason.
    """
    try:
        if not content.read(1):
            raise UnreadableError("it is empty")
        Image.init()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's limit, checked below, and of small faults it reads past
            with Image.open(content, formats=[each for each in FORMATS if each in Image.OPEN]) as image:
                image.draft(None, (ENOUGH, ENOUGH))
                return of_image(image)
    except UnreadableError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError("it is no image of a known kind") from error
    except Exception as error:
        raise UnreadableError(_why(error)) from error


def of_image(image: Image.Image) -> Tensor:
    """A Pillow image as uint8 [3, 32, 32]: steps 3 to 7 above; the image itself stays as it is.

    Raises:
        UnreadableError: with the reason.
    """
    pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if not pixels:
        raise UnreadableError("it has no pixels")
    if most and pixels > most:
        raise UnreadableError(f"it has {pixels / 1e6:,.0f} million pixels; {most / 1e6:,.0f} are the most")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            image = _rgb(_square(_upright(image)))
            image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    except UnreadableError:
        raise
    except Exception as error:
        raise UnreadableError(_why(error)) from error
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def of_array(array: np.ndarray[Any, Any] | Tensor) -> Tensor:
    """Pictures in an array or a tensor, uint8 [n, 3, 32, 32]; others than 32x32 are cut and resized as files are.

    Args:
        array: uint8 [h, w, 3], [n, h, w, 3], [3, h, w] or [n, 3, h, w]. The colours are on the last axis or on the
            third from last, whichever has the length 3.

    Raises:
        UnreadableError: if it is of another dtype or shape, or if both of those axes have the length 3.
    """
    if array.dtype not in (np.uint8, torch.uint8):
        raise UnreadableError(
            f"it is an array of {str(array.dtype).removeprefix('torch.')}; uint8, from 0 to 255, is taken"
        )
    # A copy, since torch takes no array that is turned round, as BGR is by [..., ::-1].
    images = array.detach().cpu() if isinstance(array, Tensor) else torch.from_numpy(array.copy())
    shape = list(images.shape)
    if len(shape) not in (3, 4) or 3 not in (shape[-1], shape[-3]):
        raise UnreadableError(f"it is an array {shape}; [h, w, 3], [3, h, w], or either with n before, is taken")
    if shape[-1] == shape[-3]:
        raise UnreadableError(f"it is an array {shape}, whose colours may be first or last; make it a Pillow image")
    images = images if len(shape) == 4 else images[None]
    images = images if shape[-3] == 3 else images.permute(0, 3, 1, 2)
    if images.shape[-2:] == (SIDE, SIDE):
        return images.contiguous()
    resized = [of_image(Image.fromarray(each.permute(1, 2, 0).contiguous().numpy())) for each in images]
    return torch.stack(resized) if resized else images.new_empty(0, 3, SIDE, SIDE)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # what cannot be read of a camera's notes says nothing
        return image


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _rgb(image: Image.Image) -> Image.Image:
    """The colours as 8-bit RGB; white where nothing is.

    Raises:
        UnreadableError: if they do not tell what is black and what is white.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return _grey(np.asarray(image)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _grey(values: np.ndarray[Any, Any]) -> Image.Image:
    """8-bit grey of floating-point numbers from 0 to 1, or of whole ones from 0 to 65535."""
    white = 1 if values.dtype.kind == "f" else 2**16 - 1
    least, most = values.min(), values.max()
    if not (least >= 0 and most <= white):  # so that what is no number is refused too
        raise UnreadableError(f"its grey goes from {least:g} to {most:g}; 0 to {white} is taken")
    return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))


def _why(error: Exception) -> str:
    """What Pillow's error means, in a few words."""
    if isinstance(error, Image.DecompressionBombError):
        return "it has more pixels than are safe to decode"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    return "it is cut off" if "truncated" in str(error) or isinstance(error, EOFError) else "it is damaged"
