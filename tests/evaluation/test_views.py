"""Views: what each shows, and that all are views of the same image."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vgg_cifar.evaluation.views import VIEWS, View


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_choices_begin_with_the_image_and_see_it_in_so_many_different_ways(images: Tensor) -> None:
    assert {name: len(views) for name, views in VIEWS.items()} == {"none": 1, "flip": 2, "multicrop": 10}
    for views in VIEWS.values():
        assert torch.equal(views[0](images), images)
        assert len({view(images).numpy().tobytes() for view in views}) == len(views)
    assert set(VIEWS["none"]) < set(VIEWS["flip"]) < set(VIEWS["multicrop"])


def test_every_other_view_is_the_mirror_image_of_the_one_before(images: Tensor) -> None:
    for name in ("flip", "multicrop"):
        for straight, mirrored in zip(VIEWS[name][::2], VIEWS[name][1::2], strict=True):
            assert torch.equal(mirrored(images), straight(images).flip(3))


def test_the_views_of_multicrop_are_windows_of_the_image_with_a_reflected_border(images: Tensor) -> None:
    padded = F.pad(images.float(), [1] * 4, mode="reflect").to(torch.uint8)
    windows = {
        padded[:, :, y : y + 32, x : x + 32].numpy().tobytes() for y, x in [(1, 1), (0, 0), (0, 2), (2, 0), (2, 2)]
    }
    assert {view(images).numpy().tobytes() for view in VIEWS["multicrop"][::2]} == windows


def test_a_shift_moves_what_is_seen_and_reflects_what_comes_into_view(images: Tensor) -> None:
    seen = View(down=3, right=-2)(images)
    assert torch.equal(seen[:, :, 3:, :-2], images[:, :, :-3, 2:])
    assert torch.equal(seen[:, :, 0, :-2], images[:, :, 3, 2:])
    assert torch.equal(seen[:, :, 3:, -1], images[:, :, :-3, -3])


@pytest.mark.parametrize("view", VIEWS["multicrop"])
def test_a_view_keeps_shape_and_dtype_and_sees_each_image_by_itself(view: View, images: Tensor) -> None:
    before = images.clone()
    seen = view(images)
    assert (seen.shape, seen.dtype) == (images.shape, torch.uint8)
    assert torch.equal(view(images[1:2]), seen[1:2])
    assert torch.equal(view(images.contiguous(memory_format=torch.channels_last)), seen)
    assert torch.equal(images, before)
    assert len(view(images[:0])) == 0
