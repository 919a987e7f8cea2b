"""A first convolution that begins by taking the images' correlations out of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGES = 5000
"""Training images that are looked at: the covariance of some millions of patches is known well enough."""
EPS = 0.01
"""Added to the variance of a direction. Those that vary less are hardly more than noise, and are not blown up; nor do
their filters become so long that a relative step of all filters, as Muon's, is mostly theirs."""
CHUNK = 250
"""Images whose patches lie in memory at once."""


@torch.no_grad()
def whiten(layer: nn.Conv2d, images: Tensor) -> None:
    """Let a first layer begin as the principal directions of image patches, each at the same variance (Page, 2018).

    With e the eigenvectors of the patches' covariance, unit vectors, and v their eigenvalues, the first filters are
    e / sqrt(v + EPS), the largest v first, and as many filters after them are their negatives (Jordan, 2024), so that
    no half of a direction is lost in the ReLU. Outputs then have a variance of v / (v + EPS), and no two directions are
    correlated. Three colours in 3x3 pixels have 27 directions, which is 54 filters; with fewer filters the least
    directions are left out, and filters beyond, and the bias, stay as they are.

    Args:
        layer: filters [o, i, h, w], changed in place.
        images: float [n, i, height, width], normalised as the layer gets them; the same images make the same filters.
    """
    outputs, *shape = layer.weight.shape
    values, vectors = torch.linalg.eigh(covariance(images, (shape[1], shape[2])))
    directions = vectors.T.flip(0)  # a row each
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    directions = directions * largest.sign() / (values.flip(0).clamp_min(0) + EPS).sqrt()[:, None]
    count = min(len(directions), outputs // 2)
    filters = directions[:count].view(count, *shape)
    layer.weight[: 2 * count] = torch.cat([filters, -filters]).to(layer.weight)


def covariance(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The covariance of all whole patches of some images.

    Args:
        images: float [n, i, height, width].
        size: of a patch, rows and columns.

    Returns:
        float64 [i * rows * columns, i * rows * columns], in the order of a filter's weights.
    """
    rows, columns = size
    dimensions = images.shape[1] * rows * columns
    products = torch.zeros(dimensions, dimensions, dtype=torch.float64)
    sums, count = torch.zeros(dimensions, dtype=torch.float64), 0
    for chunk in images.split(CHUNK):
        windows = chunk.double().unfold(2, rows, 1).unfold(3, columns, 1)  # [n, i, y, x, rows, columns]
        patches = windows.permute(1, 4, 5, 0, 2, 3).reshape(dimensions, -1)
        products += patches @ patches.T
        sums += patches.sum(1)
        count += patches.shape[1]
    mean = sums / count
    return products / count - mean.outer(mean)
