"""The ReLU: torch's, on bits where these are bfloat16 on a CPU."""

import pytest
import torch
from torch import Tensor, nn

from vgg_cifar.relu import ReLU

EVERY_BFLOAT16 = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)


@pytest.fixture
def on_bits(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of the features that were rectified as integers."""
    shapes: list[torch.Size] = []
    threshold = torch.threshold_

    def spy(bits: Tensor, least: float, value: float) -> Tensor:
        shapes.append(bits.shape)
        return threshold(bits, least, value)

    monkeypatch.setattr(torch, "threshold_", spy)
    return shapes


def outcome(module: nn.Module, features: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """What comes out, and the gradient of what went in."""
    leaf = features.clone().requires_grad_()
    outputs = module(leaf.clone())
    outputs.backward(gradient)
    assert leaf.grad is not None
    return outputs.detach(), leaf.grad


def test_every_bfloat16_comes_out_equal_to_torchs(on_bits: list[torch.Size]) -> None:
    found = ReLU()(EVERY_BFLOAT16.clone())
    expected = EVERY_BFLOAT16.relu()
    assert on_bits == [EVERY_BFLOAT16.shape]
    assert found.isnan().sum() == EVERY_BFLOAT16.isnan().sum() > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_the_gradient_passes_where_the_number_is_positive(on_bits: list[torch.Size]) -> None:
    features = EVERY_BFLOAT16[~EVERY_BFLOAT16.isnan()]
    gradient = torch.randn(features.shape).bfloat16()
    found, expected = (outcome(module, features, gradient) for module in (ReLU(), nn.ReLU(inplace=True)))
    assert on_bits
    assert all(torch.equal(mine, right) for mine, right in zip(found, expected, strict=True))
    assert 0 < found[1].count_nonzero() < len(features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_other_numbers_are_torchs(dtype: torch.dtype, on_bits: list[torch.Size]) -> None:
    features, gradient = torch.randn(100, dtype=dtype), torch.randn(100, dtype=dtype)
    found, expected = (outcome(module, features, gradient) for module in (ReLU(), nn.ReLU(inplace=True)))
    assert not on_bits
    assert all(torch.equal(mine, right) for mine, right in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_works_in_place_and_keeps_the_layout(dtype: torch.dtype) -> None:
    features = torch.randn(2, 3, 4, 4, dtype=dtype).to(memory_format=torch.channels_last)
    outputs = ReLU()(features)
    assert outputs.data_ptr() == features.data_ptr()
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    assert features.min() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_who_reads_what_was_rectified_in_place_has_its_gradient(dtype: torch.dtype) -> None:
    leaf = torch.tensor([-1.0, 2], dtype=dtype, requires_grad=True)
    features = leaf * 3
    ReLU()(features)
    features.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [0, 3]


def test_gradients_of_any_layout_are_taken() -> None:
    features = torch.randn(2, 3, 4, 4).bfloat16()
    gradient = torch.ones(1, dtype=torch.bfloat16).expand(2, 3, 4, 4)
    assert torch.equal(outcome(ReLU(), features, gradient)[1], (features > 0).bfloat16())
