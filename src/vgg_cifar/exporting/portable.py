"""A trained network as a file should hold it: pixels in, probabilities out, made of torch's own layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vgg_cifar.convolution import Conv2d
from vgg_cifar.data.loader import Normalise
from vgg_cifar.relu import ReLU
from vgg_cifar.vgg import VGG, GridLinear


class Portable(nn.Module):
    """A network with its preprocessing in front and a softmax behind.

    Args:
        network: normalised float32 images [n, 3, 32, 32] to logits [n, classes].
        mean: of red, green and blue, for pixels in [0, 1].
        std: likewise.
    """

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        normalise = Normalise.of(list(mean), list(std), torch.device("cpu"))
        self.network = network
        self.register_buffer("scale", normalise.scale)
        self.register_buffer("shift", normalise.shift)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities float32 [n, classes] of RGB images uint8 [n, 32, 32, 3]."""
        pixels = images.permute(0, 3, 1, 2).float()
        logits: Tensor = self.network(pixels * self.scale + self.shift)
        return logits.float().softmax(1)


def plain(network: nn.Module) -> nn.Module:
    """A copy with a layer of torch's own in the place of each of ours: those choose their arithmetic when they run.

    In VGG a 32x32 image ends as one pixel: nothing is left to pool, and the weights that `GridLinear` adds up for that
    pixel are added up here, once. Every ReLU stands in front of its pooling, next to the convolution with which
    runtimes take it as one.
    """
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    for name, module in list(copied.named_modules()):
        if type(module) is Conv2d:
            layer: nn.Module = nn.Conv2d(module.in_channels, module.out_channels, 3, padding=1)
            layer.load_state_dict(module.state_dict())
            copied.set_submodule(name, layer.requires_grad_(False))
        elif type(module) is ReLU:
            copied.set_submodule(name, nn.ReLU(inplace=True))
    if isinstance(copied, VGG):
        layers = list(copied.features)
        for place, layer in enumerate(layers):
            before = layers[place - 1]
            if isinstance(layer, nn.ReLU) and isinstance(before, nn.MaxPool2d | nn.Sequential):
                layers[place - 1 : place + 1] = layer, before
        copied.features = nn.Sequential(*layers)
        head, cells = copied.classifier[0], copied.avgpool.output_size
        copied.avgpool = nn.Identity()  # type: ignore[assignment]  # one pixel is its own mean
        if isinstance(head, GridLinear):
            assert isinstance(cells, int)
            summed = nn.Linear(head.in_features // cells**2, head.out_features)
            summed.load_state_dict({"weight": head.weight.unflatten(1, (-1, cells**2)).sum(2), "bias": head.bias})
            copied.classifier[0] = summed.requires_grad_(False)
    return copied
