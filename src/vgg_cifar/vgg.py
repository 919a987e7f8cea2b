"""VGG with batch norm for 32x32 images (Simonyan & Zisserman, 2015; Ioffe & Szegedy, 2015).

Modules with weights stand where torchvision's do: the keys of the state dict are torchvision's wherever the layers are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import linear

from vgg_cifar.convolution import Conv2d
from vgg_cifar.relu import ReLU

BLOCKS: dict[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions per block, by the number of layers with weights (three of them fully connected)."""

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of each block."""


class VGG(nn.Module):
    """A VGG with batch norm: five blocks of 3x3 convolutions, then fully connected layers.

    Args:
        depth: 11, 13, 16 or 19.
        classes: number of logits.
        hidden: sizes of the fully connected layers before the last; `[512, 512]` makes VGG16's three.
        pool: how a block halves its image.
        grid: side of the adaptive average pooling in front of the fully connected layers.
        init: "kaiming" draws the convolutions by He et al. (2015), as torchvision does. "dirac" then lets as many
            filters as there are inputs hand these on as they are (Jordan, 2024): a deep network begins as a shallow
            one. "default" is torch's for each layer. Fully connected layers are torch's in all three: torchvision's,
            with a deviation of 0.01, are made for 4096 inputs and starve 512.
        bn_momentum: share of each batch in batch norm's running statistics.
        width: factor on the channels of every block.
        head_dropout: probability after each hidden fully connected layer.
        block_dropout: probability after each block, per channel.
    """

    def __init__(
        self,
        depth: int = 16,
        classes: int = 100,
        hidden: Sequence[int] = (512, 512),
        pool: Literal["max", "average"] = "max",
        grid: int = 1,
        init: Literal["kaiming", "dirac", "default"] = "kaiming",
        bn_momentum: float = 0.1,
        width: float = 1.0,
        head_dropout: float = 0.0,
        block_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        halve: type[nn.MaxPool2d] | type[nn.AvgPool2d] = nn.MaxPool2d if pool == "max" else nn.AvgPool2d
        features: list[nn.Module] = []
        channels = 3
        for convolutions, full in zip(BLOCKS[depth], WIDTHS, strict=True):
            outputs = max(1, round(full * width))
            for _ in range(convolutions):
                features += [Conv2d(channels, outputs), nn.BatchNorm2d(outputs, momentum=bn_momentum), ReLU()]
                channels = outputs
            end: nn.Module = halve(2, 2, ceil_mode=True)  # for images whose side does not halve five times
            if block_dropout:
                # In one slot with the pooling: a slot of its own would renumber every layer behind it.
                end = nn.Sequential(end, nn.Dropout2d(block_dropout))
            if pool == "max":
                # Before its ReLU, which then rectifies the largest of four for all four, to the same outputs.
                features.insert(-1, end)
            else:
                features.append(end)
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(grid)
        head: list[nn.Module] = []
        inputs = channels * grid * grid
        layer: type[nn.Linear] = GridLinear if grid > 1 else nn.Linear
        for outputs in hidden:
            head += [layer(inputs, outputs), ReLU(), nn.Dropout(head_dropout)]
            inputs, layer = outputs, nn.Linear
        self.classifier = nn.Sequential(*head, layer(inputs, classes))
        if init != "default":
            for module in self.features.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                    nn.init.zeros_(module.bias)  # type: ignore[arg-type]
                    if init == "dirac":
                        nn.init.dirac_(module.weight[: module.in_channels])

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of normalised images [n, 3, 32, 32]; other sides work too.

        What is left of an odd row or column is pooled by itself. A side of up to 32 ends as a single pixel.
        """
        features = self.features(images)
        if not (isinstance(self.classifier[0], GridLinear) and features.shape[-2:] == (1, 1)):
            features = self.avgpool(features)
        return self.classifier(features.flatten(1))  # type: ignore[no-any-return]


class GridLinear(nn.Linear):
    """A linear layer over a grid of features, which also takes the features of one pixel that stands for every cell.

    A 32x32 image ends as one pixel, which `AdaptiveAvgPool2d(7)` copies 49 times for a layer with 49 times the weights.
    Summing the weights of the copies first gives the same outputs and gradients, up to rounding, for a 49th of the
    products. Weights and state-dict keys are `nn.Linear`'s.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Outputs [n, out_features] of features [n, in_features], or of [n, in_features / cells] for every cell."""
        channels = features.shape[1]
        weight = self.weight if channels == self.in_features else self.weight.unflatten(1, (channels, -1)).sum(2)
        return linear(features, weight, self.bias)
