"""The contact sheet: training images beside what a run would see of them."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from vgg_cifar.config import Config
from vgg_cifar.contact_sheet import draw, write
from vgg_cifar.errors import UserError
from vgg_cifar.parts import make_datamodule

IMAGES = "data=synthetic data.train_size=100 data.test_size=100"


def test_a_row_is_an_image_as_it_is_and_then_as_each_epoch_sees_it(configure: Callable[..., Config]) -> None:
    config = configure("augmentation=trivial")
    sheet = draw(config, images=3, epochs=2)
    assert sheet.shape == (3, 3 * 33 + 1, 3 * 33 + 1)
    datamodule = make_datamodule(config)
    images, indices = datamodule.train.images[:3], torch.arange(3)
    assert datamodule.augment is not None
    columns = [images, *(datamodule.augment(images, indices, epoch) for epoch in range(2))]
    for column, expected in enumerate(columns):
        for row in range(3):
            shown = sheet[:, 1 + 33 * row :, 1 + 33 * column :][:, :32, :32]
            assert torch.equal(shown, expected[row])


def test_without_augmentation_all_columns_are_alike(configure: Callable[..., Config]) -> None:
    sheet = draw(configure("augmentation=none"), images=2, epochs=1)
    assert torch.equal(sheet[..., 1:33], sheet[..., 34:66])


def test_an_image_is_mixed_with_the_one_above(configure: Callable[..., Config]) -> None:
    plain, mixed = (draw(configure(f"augmentation={name}"), images=4, epochs=1) for name in ("standard", "cutmix"))
    assert not torch.equal(plain, mixed)
    for row in range(4):
        own, above, found = (
            sheet[:, 1 + 33 * each :, 34:][:, :32, :32]
            for sheet, each in ((plain, row), (plain, (row - 1) % 4), (mixed, row))
        )
        assert ((found == own) | (found == above)).all()


def test_of_images_that_are_seen_whole_and_mixed_the_mixtures_are_shown(configure: Callable[..., Config]) -> None:
    options = ("augmentation.mix_alpha=1", "augmentation=regmixup")
    assert torch.equal(
        draw(configure(*options), images=4, epochs=2), draw(configure("augmentation=mixup"), images=4, epochs=2)
    )


def test_there_are_no_more_rows_than_images(configure: Callable[..., Config]) -> None:
    with pytest.raises(UserError, match=r"images: 301 were asked for, there are \d+$"):
        draw(configure(), images=301, epochs=1)


def test_the_command_writes_a_picture(command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = command("contact_sheet.py", *IMAGES.split(), "augmentation=auto", "images=2", "epochs=3", "file=sheet.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'sheet.png'}: ")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (4 * 33 + 1, 2 * 33 + 1))


@pytest.mark.parametrize("file", ["nowhere/sheet.png", "."])
def test_a_file_that_cannot_be_written_is_named(file: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^file: .* cannot be written"):
        write(torch.zeros(3, 4, 4, dtype=torch.uint8), tmp_path / file)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("images=0", "error: images: should be a whole number from 1 to 100, is 0"),
        ("epochs=1000", "error: epochs: should be a whole number from 1 to 100, is 1000"),
        (
            "augmentation.cutuot=3",
            "error: augmentation.cutuot: there is no such option; did you mean augmentation.cutout?",
        ),
        ("augmentation", "error: augmentation: expected group=choice or key=value"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(
    command: Callable[..., subprocess.CompletedProcess[str]], arguments: str, line: str
) -> None:
    done = command("contact_sheet.py", *arguments.split())
    assert (done.returncode, done.stderr.strip()) == (2, line)
