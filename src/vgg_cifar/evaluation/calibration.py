"""Whether a network is right as often as it believes, and the temperature that makes it so.

C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 15
"""Of the reliability curve, as in the paper."""
COLDEST, HOTTEST = 0.05, 20.0
"""Between which a temperature is looked for."""


@dataclass(frozen=True)
class Reliability:
    """Images by confidence, the probability of the likeliest class, in bins of equal width over [0, 1].

    A bin holds its upper edge, the first one also 0. All three tensors are on the CPU.

    Attributes:
        count: int64 [bins], images in each bin.
        confidence: float64 [bins], their mean confidence; NaN where there are none.
        accuracy: float64 [bins], the share of them that is answered correctly; NaN where there are none.
    """

    count: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def error(self) -> float:
        """The expected calibration error, in [0, 1]: the mean distance of accuracy from confidence, over all images."""
        gaps = (self.accuracy - self.confidence).abs().nan_to_num()
        return float((gaps * self.count).sum() / self.count.sum())


def bins_of(confidence: Tensor, bins: int = BINS) -> Tensor:
    """int64 [n], the bin of each confidence, float [n] in [0, 1]."""
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1]
    return torch.bucketize(confidence.double(), edges)


def reliability(confidence: Tensor, correct: Tensor, bins: int = BINS) -> Reliability:
    """Compare confidence and accuracy.

    Args:
        confidence: float [n], n at least 1, in [0, 1].
        correct: bool [n], whether the answer of that confidence is right.
        bins: how many.
    """
    confidence, correct = confidence.cpu().double(), correct.cpu().double()
    place = bins_of(confidence, bins)
    count = torch.bincount(place, minlength=bins)
    return Reliability(
        count,
        torch.bincount(place, confidence, minlength=bins) / count,
        torch.bincount(place, correct, minlength=bins) / count,
    )


def at(logits: Tensor, temperature: float) -> Tensor:
    """What a network would answer at another temperature: float64 [n, classes], log(softmax(logits / temperature)).

    Args:
        logits: [n, classes]; logarithms of probabilities are as good.
        temperature: above 0; above 1 makes answers less certain. Which class is the likeliest stays the same.
    """
    return torch.log_softmax(logits.double() / temperature, dim=1)


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature in [0.05, 20] that gives these labels the highest likelihood.

    Fit it on validation images and on nothing else: an error measured on images that it was fitted on says little, and
    test images are for measuring. The likelihood has one peak, so a bounded search (Brent's) on the logarithm finds it.
    Where every image is answered correctly, no temperature is low enough, and the lowest is the answer.

    Args:
        logits: [n, classes], n at least 1, all finite, or logarithms of probabilities; computed with in float64.
        labels: int64 [n].
    """
    from scipy.optimize import minimize_scalar

    wide = logits.double()
    chosen = labels[:, None]

    def loss(logarithm: float) -> float:
        return -float(at(wide, math.exp(logarithm)).gather(1, chosen).mean())

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-5})
    return min(max(math.exp(found.x), COLDEST), HOTTEST)
