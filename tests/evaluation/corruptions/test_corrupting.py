"""What all corruptions have in common: form, growing strength, and draws that depend on an image's place alone."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from vgg_cifar.evaluation.corruptions import CORRUPTIONS, GROUPS, SEVERITIES, corrupt

WITHOUT_DRAWS = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}

each = pytest.mark.parametrize("name", CORRUPTIONS)


def distance(first: Tensor, second: Tensor) -> float:
    return float((first.float() - second.float()).abs().mean())


def likeness(first: Tensor, second: Tensor) -> float:
    """The mean correlation of an image's pixels with another's."""
    return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(
        first.float().flatten(1), second.float().flatten(1), strict=True)]).mean())  # fmt: skip


def test_there_are_fifteen_in_the_papers_order_and_each_is_in_one_group() -> None:
    assert len(CORRUPTIONS) == 15
    assert [name for group in GROUPS.values() for name in group] == list(CORRUPTIONS)
    assert {group: len(names) for group, names in GROUPS.items()} == {"noise": 3, "blur": 4, "weather": 4, "digital": 4}


@each
def test_images_keep_their_form_and_stay_as_they_were(name: str, images: Tensor, places: Tensor) -> None:
    before = images.clone()
    made = corrupt(name, 3, images, places)
    assert (made.shape, made.dtype, made.device) == (images.shape, torch.uint8, images.device)
    assert torch.equal(images, before)
    assert not torch.equal(made, images)
    assert corrupt(name, 3, images[:0], places[:0]).shape == (0, 3, 32, 32)


@each
@pytest.mark.parametrize("severity", [1, 5])
def test_what_becomes_of_an_image_does_not_depend_on_those_beside_it(
    name: str, severity: int, images: Tensor, places: Tensor
) -> None:
    together = corrupt(name, severity, images, places)
    assert torch.equal(corrupt(name, severity, images, places), together)
    for some in (slice(0, 1), slice(70, 71), slice(3, 36), slice(20, 95)):
        assert torch.equal(corrupt(name, severity, images[some], places[some]), together[some])
    mixed = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    assert torch.equal(corrupt(name, severity, images[mixed], places[mixed]), together[mixed])
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(corrupt(name, severity, channels_last, places), together)


@each
def test_the_place_decides_the_draws_where_there_are_any(name: str, images: Tensor) -> None:
    same = images[:1].expand(4, -1, -1, -1)
    made = corrupt(name, 4, same, torch.tensor([0, 1, 2, 9_999]))
    assert len({image.numpy().tobytes() for image in made}) == (1 if name in WITHOUT_DRAWS else 4)


@each
def test_severity_takes_an_image_further_from_the_clean_one(name: str, images: Tensor, places: Tensor) -> None:
    made = [corrupt(name, severity, images, places) for severity in SEVERITIES]
    if name == "frost":  # ice brightens what it darkens
        growing = [1 - likeness(images, worse) for worse in made]
    else:
        growing = [distance(images, worse) for worse in made]
    assert growing[0] > 0
    for lower, higher in pairwise(growing):
        assert higher > lower
    assert growing[-1] > 1.1 * growing[0]


@each
def test_reduced_precision_around_it_changes_nothing(name: str, images: Tensor, places: Tensor) -> None:
    plain = corrupt(name, 5, images[:8], places[:8])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(corrupt(name, 5, images[:8], places[:8]), plain)


def test_other_names_and_severities_are_refused(images: Tensor, places: Tensor) -> None:
    with pytest.raises(KeyError):
        corrupt("rain", 1, images, places)
    for severity in (0, 6, -1):
        with pytest.raises(ValueError, match="severity"):
            corrupt("fog", severity, images, places)
