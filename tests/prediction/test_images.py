"""Pictures of every kind become the 32x32 pixels they should, or are refused with the reason."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin
from torch import Tensor

from vgg_cifar.prediction import images
from vgg_cifar.prediction.images import UnreadableError, of_array, of_image, read

ORIENTATION = 0x0112
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip
"""What undoes each EXIF orientation, so that the file looks upright again."""


def scene(width: int, height: int) -> Image.Image:
    """Colours that run over the whole picture, so that no part, turn or mirror image of it looks like another."""
    y, x = np.mgrid[0:1:height * 1j, 0:1:width * 1j]  # fmt: skip
    channels = [255 * x, 255 * y**2, 127 + 127 * np.sin(5 * x + 9 * y * x)]
    return Image.fromarray(np.stack(channels, 2).round().astype(np.uint8))


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def furthest(one: Tensor, other: Tensor) -> int:
    """The largest difference of a pixel's channel."""
    return int((one.int() - other.int()).abs().max())


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp", "ppm"])
def test_an_image_of_32x32_stays_exactly_as_it_is(tmp_path: Path, suffix: str) -> None:
    image = scene(32, 32)
    if suffix == "gif":
        image = image.quantize(64)
    image.save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert torch.equal(read(tmp_path / f"a.{suffix}"), pixels(image))


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (100, 70), (31, 77), (1, 1), (1, 500), (32, 33), (2000, 10)])
def test_any_size_becomes_32x32_of_the_centred_square(size: tuple[int, int]) -> None:
    found = of_image(scene(*size))
    assert (found.shape, found.dtype, found.is_contiguous()) == ((3, 32, 32), torch.uint8, True)
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    square = scene(*size).crop((left, top, left + side, top + side))
    assert torch.equal(found, pixels(square.resize((32, 32), Image.Resampling.BICUBIC)))


def test_fine_stripes_become_their_mean_and_no_other_pattern() -> None:
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    assert furthest(of_image(Image.fromarray(stripes)), torch.full((3, 32, 32), 128, dtype=torch.uint8)) <= 8


def test_grey_and_black_and_white_have_three_equal_channels() -> None:
    grey = scene(32, 32).convert("L")
    assert torch.equal(of_image(grey), pixels(grey))
    assert set(of_image(grey.convert("1")).unique().tolist()) == {0, 255}


def transparent(size: int) -> Image.Image:
    """A picture that is seen through more and more to the right."""
    image = scene(size, size).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.linspace(255, 0, size).astype(np.uint8), (size, 1))))
    return image


def on_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa", "PA"])
@pytest.mark.parametrize("size", [32, 100])
def test_transparency_is_laid_on_white(mode: str, size: int) -> None:
    image = transparent(size)
    if mode in ("LA", "La"):
        image = image.convert("LA").convert(mode)
    elif mode == "PA":
        image = scene(size, size).quantize(64).convert("PA")
        image.putalpha(transparent(size).getchannel("A"))
    else:
        image = image.convert(mode)
    expected = on_white(image.convert("LA").convert("RGBA") if mode == "La" else image)
    assert torch.equal(of_image(image), of_image(expected))
    assert of_image(image)[:, 16, -1].tolist() == pytest.approx([255] * 3, abs=8)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_palettes_transparent_colour_is_white(tmp_path: Path, suffix: str) -> None:
    image = Image.new("P", (32, 32), 1)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.paste(0, (0, 0, 16, 32))
    image.save(tmp_path / f"a.{suffix}", transparency=0)
    found = read(tmp_path / f"a.{suffix}")
    assert (found[:, 5, 5].tolist(), found[:, 5, 20].tolist()) == ([255, 255, 255], [0, 0, 200])


def test_a_colour_that_a_png_calls_transparent_is_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), (1, 2, 3))
    image.paste((9, 9, 9), (0, 0, 16, 32))
    image.save(tmp_path / "a.png", transparency=(9, 9, 9))
    found = read(tmp_path / "a.png")
    assert (found[:, 5, 5].tolist(), found[:, 5, 20].tolist()) == ([255, 255, 255], [1, 2, 3])


def test_inks_become_the_colours_they_make(tmp_path: Path) -> None:
    scene(64, 64).convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert furthest(read(tmp_path / "a.jpg"), of_image(scene(64, 64))) <= 6


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_are_scaled_to_8_and_not_cut(tmp_path: Path, suffix: str) -> None:
    grey = scene(80, 60).convert("L")
    Image.fromarray(np.array(grey).astype(np.uint16) * 257).save(tmp_path / f"a.{suffix}")
    assert torch.equal(read(tmp_path / f"a.{suffix}"), of_image(grey))


def test_16_bits_are_scaled_in_either_order_of_bytes(tmp_path: Path) -> None:
    grey = scene(32, 32).convert("L")
    big = Image.frombytes("I;16B", (32, 32), (np.array(grey).astype(">u2") * 257).tobytes())
    assert torch.equal(of_image(big), of_image(grey))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_numbers_that_say_what_white_is_are_taken(tmp_path: Path, dtype: type) -> None:
    grey = np.array(scene(32, 32).convert("L"))
    Image.fromarray((grey.astype(float) * (257 if dtype is np.int32 else 1 / 255)).astype(dtype)).save(
        tmp_path / "a.tif"
    )
    assert torch.equal(read(tmp_path / "a.tif"), of_image(Image.fromarray(grey)))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.float32([[0, 255]] * 2), "its grey goes from 0 to 255; 0 to 1 is taken"),
        (np.float32([[-1, 1]] * 2), "its grey goes from -1 to 1; 0 to 1 is taken"),
        (np.float32([[0, np.nan]] * 2), "its grey goes from nan to nan; 0 to 1 is taken"),
        (np.int32([[0, 2**20]] * 2), "its grey goes from 0 to 1.04858e+06; 0 to 65535 is taken"),
    ],
)
def test_numbers_that_do_not_are_refused(tmp_path: Path, values: np.ndarray[Any, Any], reason: str) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableError) as caught:
        read(tmp_path / "a.tif")
    assert str(caught.value) == reason


def exif(orientation: int) -> bytes:
    notes = Image.Exif()
    notes[ORIENTATION] = orientation
    return notes.tobytes()


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_a_turned_picture_is_exactly_the_upright_one(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = scene(75, 50)  # odd margins: cut before turning, it would be another square
    stored = upright.transpose(TURNED[orientation])
    if suffix == "tif":
        notes = TiffImagePlugin.ImageFileDirectory_v2()
        notes[ORIENTATION] = orientation
        stored.save(tmp_path / "a.tif", tiffinfo=notes)
    else:
        stored.save(
            tmp_path / f"a.{suffix}", exif=exif(orientation), **({"lossless": True} if suffix == "webp" else {})
        )
    assert torch.equal(read(tmp_path / f"a.{suffix}"), of_image(upright))
    assert not torch.equal(of_image(stored), of_image(upright))


def test_damaged_notes_of_a_camera_leave_the_picture_as_it_is(tmp_path: Path) -> None:
    scene(32, 32).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert torch.equal(read(tmp_path / "a.png"), pixels(scene(32, 32)))


@pytest.mark.parametrize("size", [(5472, 3648), (3648, 5472)])
def test_20_megapixels_are_not_decoded_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: Any) -> None:
    small = scene(600, 400) if size[0] > size[1] else scene(400, 600)
    small.resize(size).save(tmp_path / "a.jpg", quality=90)
    taken = []
    monkeypatch.setattr(images, "of_image", lambda image: taken.append(image.size) or of_image(image))
    found = read(tmp_path / "a.jpg")
    assert taken == [(size[0] // 8, size[1] // 8)]
    assert furthest(found, of_image(small)) <= 6


def test_of_an_animation_the_first_picture_counts(tmp_path: Path) -> None:
    first, second = scene(32, 32), Image.new("RGB", (32, 32), "red")
    first.save(tmp_path / "a.webp", save_all=True, append_images=[second], lossless=True)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    first.save(tmp_path / "apng.png", save_all=True, append_images=[second])
    for name in ("a.webp", "a.tif", "apng.png"):
        assert torch.equal(read(tmp_path / name), pixels(first)), name


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"this is no picture\n" * 10, "it is no image of a known kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n", "it is no image of a known kind"),
        (saved(scene(200, 200), "PNG")[:2000], "it is cut off"),
        (saved(scene(200, 200), "JPEG")[:2000], "it is cut off"),
        (saved(scene(200, 200), "BMP")[:2000], "it is cut off"),
        (saved(scene(32, 32), "PNG").replace(b"IDAT", b"IDAT\1"), "it is damaged"),
    ],
    ids=["empty", "text", "postscript", "png", "jpeg", "bmp", "damaged"],
)
def test_what_is_no_image_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        read(tmp_path / "a.png")
    assert str(caught.value) == reason


@pytest.mark.parametrize("form", images.FORMATS)
def test_a_file_cut_or_changed_anywhere_is_taken_or_refused_in_a_few_words(form: str) -> None:
    Image.init()
    if form not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {form}")
    content = saved(scene(40, 40), form)
    draws = np.random.default_rng(0)
    for _ in range(40):
        broken = bytearray(content)
        for place in draws.integers(0, len(broken), 3):
            broken[place] = draws.integers(256)
        cut = bytes(broken[: draws.integers(1, len(broken) + 1)])
        try:
            assert images.decode(io.BytesIO(cut)).shape == (3, 32, 32)
        except UnreadableError as refused:
            assert len(str(refused)) < 70  # noqa: PT017


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "it is a folder"),
        (os.mkfifo, "it is no file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is no file"),
        (lambda path: path.symlink_to(path), "it cannot be opened: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "there is no such file"),
    ],
    ids=["nothing", "folder", "pipe", "device", "link to itself", "link to nowhere"],
)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    make(tmp_path / "a.png")
    with pytest.raises(UnreadableError) as caught:
        read(tmp_path / "a.png")
    assert str(caught.value) == reason


@pytest.mark.parametrize("name", ["a\0b", "\udcff/x", "x" * 300, "/dev/null/x"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(UnreadableError, match=r"there is no such file|File name too long"):
        read(name)


def test_a_picture_that_would_swell_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "a.jpg", "a.gif"):
        Image.new("L", (2000, 2000)).save(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3_000_000)  # Pillow itself refuses twice as many
    for name in ("a.png", "a.gif"):
        with pytest.raises(UnreadableError, match="it has 4 million pixels; 3 are the most"):
            read(tmp_path / name)
    assert read(tmp_path / "a.jpg").shape == (3, 32, 32)  # of which an eighth of each side is decoded
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    for name in ("a.png", "a.jpg", "a.gif"):
        with pytest.raises(UnreadableError, match="it has more pixels than are safe to decode"):
            read(tmp_path / name)


def test_a_users_own_image_is_not_changed() -> None:
    image = Image.open(io.BytesIO(saved(scene(400, 300), "JPEG", exif=exif(6))))
    of_image(image)
    assert (image.size, image.getexif()[ORIENTATION]) == ((400, 300), 6)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(UnreadableError, match="it has no pixels"):
        of_image(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("size", [(32, 32), (60, 40)])
def test_arrays_are_taken_in_every_order_that_is_clear(size: tuple[int, int]) -> None:
    array = np.array(scene(*size))
    expected = of_image(scene(*size))[None]
    tensor = torch.from_numpy(array)
    for each in (array, array.transpose(2, 0, 1), array[None], tensor, tensor.permute(2, 0, 1)):
        assert torch.equal(of_array(each), expected)
    assert torch.equal(of_array(np.ascontiguousarray(array[..., ::-1])[..., ::-1]), expected)
    array.flags.writeable = False
    assert torch.equal(of_array(np.stack([array] * 3)), expected.expand(3, -1, -1, -1))
    assert torch.equal(of_array(tensor.permute(2, 0, 1).expand(2, -1, -1, -1)), expected.expand(2, -1, -1, -1))
    assert of_array(np.zeros((0, *array.shape), np.uint8)).shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((32, 32, 3)), "an array of float64; uint8"),
        (torch.zeros(3, 32, 32), "an array of float32; uint8"),
        (torch.zeros(3, 32, 32, dtype=torch.int8), "an array of int8; uint8"),
        (np.zeros((32, 32), np.uint8), r"an array \[32, 32\]; "),
        (np.zeros((32, 32, 4), np.uint8), r"an array \[32, 32, 4\]; "),
        (np.zeros((3, 32, 3), np.uint8), "may be first or last"),
        (np.zeros((5, 3, 9, 3), np.uint8), "may be first or last"),
        (np.zeros((1, 1, 3, 32, 32), np.uint8), "with n before, is taken"),
        (np.zeros((0, 5, 3), np.uint8), "it has no pixels"),
    ],
)
def test_what_an_array_leaves_open_is_refused(array: Any, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        of_array(array)
