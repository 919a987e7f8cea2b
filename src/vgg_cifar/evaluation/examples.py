"""Which images are worth a look."""

from __future__ import annotations

import torch

from vgg_cifar.evaluation.scores import Scores


def surest_mistakes(scores: Scores) -> list[int]:
    """The places of the images that were taken for something else, the most confident mistake first."""
    return [place for place in scores.confidence.argsort(descending=True).tolist() if not scores.right[place]]


def hardest(scores: Scores) -> list[int]:
    """The places of all images, that whose right class was thought least probable first."""
    return scores.label_probability.argsort().tolist()


def of_class(scores: Scores, label: int, count: int) -> list[int]:
    """The places of some images of a class, from the surest to the least sure, evenly over all of them."""
    places = (scores.labels == label).nonzero().flatten()
    ranked = places[scores.label_probability[places].argsort(descending=True)]
    steps = torch.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().long()
    return ranked[steps].tolist()
