"""Options: what each choice does and in which order, and that all of it combines."""

import pytest
import torch

from vgg_cifar.augmentation.batch import Step, Steps
from vgg_cifar.augmentation.erasing import Cutout, Erasing
from vgg_cifar.augmentation.geometry import Crop, Flip, Rotation
from vgg_cifar.augmentation.mixing import Mixing
from vgg_cifar.augmentation.policies import BINS, NARROW, WIDE, Even, Learned
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import check

MEAN = [0.2, 0.4, 1.0]
COLOUR = (51, 102, 255)
STANDARD = (Crop(3, 4, "zero"), Flip(3))
EXPECTED: dict[str, tuple[Step, ...]] = {
    "augmentation=standard": STANDARD,
    "augmentation=rotate": (*STANDARD, Rotation(3, 15.0)),
    "augmentation=cutout": (*STANDARD, Cutout(3, 8, COLOUR)),
    "augmentation=erase": (*STANDARD, Erasing(3, 0.5, COLOUR)),
    "augmentation=trivial": (*STANDARD, Even(3, 1, WIDE, tuple(range(BINS)))),
    "augmentation=rand": (*STANDARD, Even(3, 2, NARROW, (9,))),
    "augmentation=auto": (*STANDARD, Learned(3)),
    "augmentation=none augmentation.flip=true": (Flip(3),),
    "augmentation=none augmentation.cutout=16": (Cutout(3, 16, COLOUR),),
    "augmentation.padding=31 augmentation.padding_mode=reflect": (Crop(3, 31, "reflect"), Flip(3)),
    "augmentation=trivial augmentation.cutout=16 augmentation.flip=alternating": (
        Crop(3, 4, "zero"),
        Flip(3, alternating=True),
        Even(3, 1, WIDE, tuple(range(BINS))),
        Cutout(3, 16, COLOUR),
    ),
    "augmentation=rand augmentation.operations=3 augmentation.magnitude=14 augmentation.degrees=30 "
    "augmentation.erase=1 augmentation.cutout=4": (
        *STANDARD,
        Rotation(3, 30.0),
        Even(3, 3, NARROW, (14,)),
        Erasing(3, 1.0, COLOUR),
        Cutout(3, 4, COLOUR),
    ),
}


@pytest.mark.parametrize("line", EXPECTED)
def test_a_command_line_is_done_in_the_documented_order(line: str) -> None:
    assert compose_and_check(line.split()).config.augmentation.build(3, MEAN) == Steps(EXPECTED[line])


def test_nothing_to_do_is_no_augmentation() -> None:
    off = ["augmentation=standard", "augmentation.padding=0", "augmentation.flip=false"]
    for line in (["augmentation=none"], off):
        assert compose_and_check(line).config.augmentation.build(0, MEAN) is None


def test_what_is_mixed_is_as_its_choice_says() -> None:
    expected = {
        "augmentation=mixup": Mixing("mixup", 1.0, 1.0, 5),
        "augmentation=cutmix augmentation.mix_probability=0.5": Mixing("cutmix", 1.0, 0.5, 5),
        "augmentation=mix": Mixing("both", 1.0, 1.0, 5),
        "augmentation=regmixup": Mixing("regmixup", 10.0, 1.0, 5),
        "augmentation=regmixup augmentation.mix_until=0.5": Mixing("regmixup", 10.0, 1.0, 5),
        "augmentation=regmixup augmentation.mix_until=0": None,
        "augmentation=regmixup augmentation.mix_probability=0": None,
        "augmentation=trivial": None,
    }
    for line, mixing in expected.items():
        assert compose_and_check(line.split()).config.augmentation.mixing(5) == mixing, line


@pytest.mark.parametrize(("given", "until"), [("0", 0.0), ("0.3", 1.0), ("1", 1.0)])
def test_the_first_stage_mixes_if_the_run_ever_does(given: str, until: float) -> None:
    config = compose_and_check(["augmentation=mixup", f"augmentation.mix_until={given}"]).config
    assert config.augmentation.first_stage().mix_until == until


def test_a_mean_that_no_pixel_can_have_is_painted_as_the_nearest_colour() -> None:
    augmentation = compose_and_check(["augmentation=none", "augmentation.cutout=64"]).config.augmentation
    augment = augmentation.build(0, [-0.5, 0.5, 20.0])
    assert augment is not None
    painted = augment(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.arange(1), 0)
    assert painted[0, :, 16, 16].tolist() == [0, 128, 255]


def test_a_shipped_choice_can_be_written_down_and_read_again() -> None:
    raw = compose_and_check(["augmentation=rand"]).raw
    assert check(raw).augmentation.model_dump() == raw["augmentation"]
