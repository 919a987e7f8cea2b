"""Snow, frost, fog and glaring light."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from vgg_cifar import draws
from vgg_cifar.evaluation.corruptions import fields, maps
from vgg_cifar.evaluation.corruptions.ice import panes

_GREY = (0.299, 0.587, 0.114)


def snow(pixels: Tensor, indices: Tensor, severity: int) -> Tensor:
    """Flakes that fall, smeared by their motion, before a paler scene.

    The authors' strengths. Instead of ImageMagick's blur see `maps.streaked`; flakes are enlarged about the centre.
    """
    mean, deviation, size, least, radius, sigma, keep = (
        (0.1, 0.2, 1.0, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1.0, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[severity - 1]
    flakes = mean + deviation * fields.normal(indices, (1, maps.SIDE, maps.SIDE), "snow")
    flakes = maps.both_ways(flakes, _larger(size, pixels.device))
    flakes = torch.where(flakes < least, 0, flakes.clamp(0, 1))
    degrees = 45 + 90 * draws.uniform(indices, "corruption", "snow's direction")
    flakes = maps.streaked(flakes, degrees, radius, sigma)
    red, green, blue = pixels.split(1, dim=1)
    pale = (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue) * 1.5 + 0.5
    scene = keep * pixels + (1 - keep) * torch.maximum(pixels, pale)
    return scene + flakes + flakes.flip(2, 3)


@cache
def _larger(factor: float, device: torch.device) -> Tensor:
    return maps.zoom(factor).to(device)


def frost(pixels: Tensor, indices: Tensor, severity: int) -> Tensor:
    """Ice on a window, added to a darker scene.

    The authors' strengths: the scene darkens while the ice brightens, so what falls from one to the next is the image's
    correlation with the clean one, while its pixels need not lie further away. They cut each image's window out of one
    of five photographs; here it is cut out of one of the drawn panes of `ice.panes`.
    """
    keep, add = ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[severity - 1]
    ice = panes(pixels.device)
    count, _, side, _ = ice.shape
    place = torch.arange(maps.SIDE, device=pixels.device)
    which = draws.integers(indices, count, "corruption", "frost's pane")
    top = draws.integers(indices, side, "corruption", "frost's row")
    left = draws.integers(indices, side, "corruption", "frost's column")
    rows = (top[:, None] + place) % side
    columns = (left[:, None] + place) % side
    window = ice.permute(0, 2, 3, 1)[which[:, None, None], rows[:, :, None], columns[:, None, :]]
    return keep * pixels + add * window.permute(0, 3, 1, 2)


def fog(pixels: Tensor, indices: Tensor, severity: int) -> Tensor:
    """Banks of fog: a fractal landscape added to the scene, which is then darkened to its former brightest value.

    As the authors', with the same midpoint displacement.
    """
    thick, decay = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))[severity - 1]
    brightest = pixels.flatten(1).amax(1).reshape(-1, 1, 1, 1)
    return (pixels + thick * landscape(indices, decay)[:, None]) * (brightest / (brightest + thick))


def landscape(indices: Tensor, decay: float) -> Tensor:
    """A fractal by midpoint displacement (A. Fournier, D. Fussell and L. Carpenter, 1982), which repeats at its edges.

    Args:
        indices: int64 [n], the images' places.
        decay: each halving of the distance between points divides the displacement by its square.

    Returns:
        float32 [n, 32, 32], from 0 to 1 in each image.
    """
    shaken = fields.uniform(indices, (maps.SIDE**2 - 1,), "fog")
    heights = shaken.new_zeros(len(indices), 1, 1)
    done, amplitude = 0, 1.0
    while heights.shape[1] < maps.SIDE:
        side = heights.shape[1]
        shifts = shaken[:, done : done + 3 * side**2].view(-1, 3, side, side) * amplitude
        below = heights.roll(-1, 1)
        beside = heights.roll(-1, 2)
        centre = (heights + below + beside + below.roll(-1, 2)) / 4 + shifts[:, 0]
        right = (heights + beside + centre + centre.roll(1, 1)) / 4 + shifts[:, 1]
        under = (heights + below + centre + centre.roll(1, 2)) / 4 + shifts[:, 2]
        upper, lower = torch.stack([heights, right], dim=3), torch.stack([under, centre], dim=3)
        heights = torch.stack([upper, lower], dim=2).reshape(-1, 2 * side, 2 * side)
        done, amplitude = done + 3 * side**2, amplitude / decay**2
    low, high = (bound.reshape(-1, 1, 1) for bound in heights.flatten(1).aminmax(dim=1))
    return (heights - low) / (high - low)


def brightness(pixels: Tensor, _: Tensor, severity: int) -> Tensor:
    """Glaring light: the value of hue, saturation and value is raised. As the authors'."""
    more = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    value = pixels.amax(dim=1, keepdim=True)
    brighter = (value + more).clamp_max(1)
    return torch.where(value > 0, pixels * (brighter / value.clamp_min(1e-6)), brighter)
