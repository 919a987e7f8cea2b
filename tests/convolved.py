"""What a convolution gives and learns, beside torch's."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vgg_cifar.convolution import Conv2d

PLACES = ("outputs", "images", "weight", "bias")
Way = Callable[[Tensor, Tensor, Tensor], Tensor]


class By(Conv2d):
    """A convolution by one way, however many channels there are, and in any arithmetic."""

    def __init__(self, way: Way, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.way = way

    def forward(self, images: Tensor) -> Tensor:
        assert self.bias is not None
        return self.way(images, self.weight, self.bias)


def pair(
    inputs: int, outputs: int, dtype: torch.dtype = torch.float32, way: Way | None = None
) -> tuple[Conv2d, nn.Conv2d]:
    """Ours, by the way that it chooses if none is given, and torch's, with the same weights."""
    torch.manual_seed(0)
    ours = Conv2d(inputs, outputs) if way is None else By(way, inputs, outputs)
    ours = ours.to(dtype, memory_format=torch.channels_last)
    theirs = nn.Conv2d(inputs, outputs, 3, padding=1).to(dtype, memory_format=torch.channels_last)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def outcome(module: nn.Conv2d, images: Tensor, gradient: Tensor) -> list[Tensor]:
    """What comes out, and the gradients of what went in."""
    images = images.clone().requires_grad_()
    outputs = module(images)
    outputs.backward(gradient.to(outputs.dtype))
    assert module.weight.grad is not None
    assert module.bias is not None
    assert images.grad is not None
    assert module.bias.grad is not None
    return [outputs.detach(), images.grad, module.weight.grad, module.bias.grad]


def compared(
    way: Way, inputs: int, outputs: int, count: int, side: int, *, channels_last: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """The outcome by a way and torch's, in float64, after a look whether they are the same up to rounding."""
    images, gradient = (torch.randn(count, each, side, side, dtype=torch.float64) for each in (inputs, outputs))
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    found, expected = (outcome(module, images, gradient) for module in pair(inputs, outputs, torch.float64, way))
    for place, mine, right in zip(PLACES, found, expected, strict=True):
        torch.testing.assert_close(mine, right, msg=lambda text, place=place: f"{place}: {text}")
    return found, expected
