"""Small images side by side: torch's convolution, and gradients by sums over longer rows."""

from typing import Any

import pytest
import torch
from convolved import PLACES, compared, outcome, pair
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vgg_cifar.side_by_side import side_by_side


@given(
    count=st.integers(1, 8), inputs=st.integers(1, 6), outputs=st.integers(1, 6), side=st.integers(1, 9),
    channels_last=st.booleans(),
)  # fmt: skip
@settings(max_examples=60)
def test_it_is_a_convolution_with_its_gradients(
    count: int, inputs: int, outputs: int, side: int, channels_last: bool
) -> None:
    found, expected = compared(side_by_side, inputs, outputs, count, side, channels_last=channels_last)
    assert torch.equal(found[0], expected[0])


def test_its_gradients_are_those_of_its_outputs() -> None:
    given = [
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in [(4, 2, 5, 4), (3, 2, 3, 3), (3,)]
    ]
    assert torch.autograd.gradcheck(side_by_side, given, fast_mode=True)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 32])
def test_in_bfloat16_outputs_are_torchs_and_gradients_no_farther_from_right(count: int) -> None:
    images, gradient = (torch.randn(count, 128, 8, 8).bfloat16() for _ in range(2))
    exact = outcome(pair(128, 128, torch.float64)[1], images.double(), gradient.double())
    modules = pair(128, 128, way=side_by_side)
    with torch.autocast("cpu", torch.bfloat16):
        found, usual = (outcome(module, images, gradient) for module in modules)
    assert [each.dtype for each in found] == [each.dtype for each in usual]
    assert torch.equal(found[0], usual[0])
    for place, mine, torchs, right in zip(PLACES, found, usual, exact, strict=True):
        assert (mine - right).norm() <= 1.05 * (torchs - right).norm(), place


def test_what_follows_may_change_the_outputs_in_place() -> None:
    images, weight = torch.randn(4, 3, 8, 8, requires_grad=True), torch.randn(2, 3, 3, 3, requires_grad=True)
    expected = nn.functional.conv2d(images, weight, padding=1).relu().sum()
    wanted = torch.autograd.grad(expected, [images, weight])
    found = torch.autograd.grad(side_by_side(images, weight, torch.zeros(2)).relu_().sum(), [images, weight])
    for mine, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-4)


class Products(TorchDispatchMode):
    """Writes down whose gradients a convolution is asked for, and of images of what shape."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[tuple[int, ...], list[bool]]] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operator is torch.ops.aten.convolution_backward.default:
            self.seen.append((tuple(args[1].shape), list(args[10])))
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("wanted", "products"),
    [
        ([True, True, True], [((7, 2, 8, 8), [True, False, False]), ((3, 2, 8, 26), [False, True, True])]),
        ([False, True, False], [((7, 2, 8, 8), [False, False, False]), ((3, 2, 8, 26), [False, True, False])]),
        ([True, False, False], [((7, 2, 8, 8), [True, False, False])]),
    ],
)
def test_weights_learn_from_three_images_in_a_row_and_only_what_is_wanted_is_computed(
    wanted: list[bool], products: list[Any]
) -> None:
    shapes = [(7, 2, 8, 8), (3, 2, 3, 3), (3,)]
    given = [torch.randn(shape, requires_grad=each) for shape, each in zip(shapes, wanted, strict=True)]
    outputs = side_by_side(*given).sum()
    with Products() as mode:
        outputs.backward()
    assert mode.seen == products
    assert [each.grad is not None for each in given] == wanted


def test_gradients_of_gradients_are_refused() -> None:
    images, weight = torch.randn(1, 2, 8, 8, requires_grad=True), torch.randn(3, 2, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        side_by_side(images, weight, torch.zeros(3)).square().sum(), weight, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
