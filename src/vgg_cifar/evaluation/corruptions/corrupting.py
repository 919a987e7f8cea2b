"""Fifteen common corruptions, made as they are needed instead of read from files.

They are those of D. Hendrycks and T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019: the kinds, their order and groups are the paper's, the strengths those that its authors chose
for CIFAR-10-C. What they did with ImageMagick, OpenCV and photographs of frost is done with torch alone; where one of
their severities changes an image less than the one below it, or as much, another strength stands here, and the function
says so. An accuracy on these images can be compared with another on these images, not with one on the files published
as CIFAR-10-C or CIFAR-100-C.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vgg_cifar.evaluation.corruptions import blur, digital, noise, weather

Corruption = Callable[[Tensor, Tensor, int], Tensor]
"""(float32 images [n, 3, 32, 32] in [0, 1], their places int64 [n], severity) -> float32 images of the same shape,
which may leave [0, 1]."""

SEVERITIES = (1, 2, 3, 4, 5)

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": noise.gaussian,
    "shot_noise": noise.shot,
    "impulse_noise": noise.impulse,
    "defocus_blur": blur.defocus,
    "glass_blur": blur.glass,
    "motion_blur": blur.motion,
    "zoom_blur": blur.zoom,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg,
}
"""In the paper's order."""

GROUPS: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
"""The paper's groups, of which each corruption is in one."""

_PART = 64
"""Images at a time. What is computed of them stays in a CPU's cache; and since a smaller part is filled up, products of
matrices round in the same way however many images there are."""


def corrupt(name: str, severity: int, images: Tensor, indices: Tensor) -> Tensor:
    """Corrupt images.

    What becomes of an image depends on nothing but its pixels and its place: not on the images beside it. The draws are
    always the same, at every severity: a higher one has the same grains, flakes and directions, stronger.

    Args:
        name: one of `CORRUPTIONS`.
        severity: one of `SEVERITIES`.
        images: uint8 [n, 3, 32, 32], RGB, on any device.
        indices: int64 [n], on the same device: each image's place in its split, below 2**20.

    Returns:
        uint8 [n, 3, 32, 32] on the same device, rounded to the nearest level. Devices may differ in a value's last
        level.

    Raises:
        KeyError: if there is no such corruption.
        ValueError: if there is no such severity.
    """
    apply = CORRUPTIONS[name]
    if severity not in SEVERITIES:
        raise ValueError(f"a severity is 1, 2, 3, 4 or 5, not {severity!r}")
    count = len(images)
    missing = -count % _PART
    filled = F.pad(images.contiguous(), [0] * 6 + [0, missing])
    places = F.pad(indices, [0, missing])
    made = torch.empty_like(filled)
    with torch.autocast(images.device.type, enabled=False):
        for some, those, to in zip(filled.split(_PART), places.split(_PART), made.split(_PART), strict=True):
            changed = apply(some.float().div_(255), those, severity)
            to.copy_(changed.mul(255).round_().clamp_(0, 255))
    return made[:count]
