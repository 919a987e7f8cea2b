"""What a convolution gives and learns, beside torch's."""

import torch
from torch import Tensor, nn

from vgg_cifar.convolution import Conv2d

PLACES = ("outputs", "images", "weight", "bias")


def pair(inputs: int, outputs: int, dtype: torch.dtype = torch.float32) -> tuple[Conv2d, nn.Conv2d]:
    """Ours and torch's, with the same weights."""
    torch.manual_seed(0)
    ours = Conv2d(inputs, outputs).to(dtype, memory_format=torch.channels_last)
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
