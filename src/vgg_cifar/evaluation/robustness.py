"""What is left of the answers when images are altered: averaged over views of each, or asked about corrupted ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from vgg_cifar.data.dataset import Split, stratified
from vgg_cifar.data.loader import Alter
from vgg_cifar.evaluation.asking import Asking, together
from vgg_cifar.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from vgg_cifar.evaluation.scores import DIGITS, Scores
from vgg_cifar.evaluation.views import VIEWS, View


def augmented(ask: Asking, images: Split, plain: Sequence[Tensor], name: str, tta: str) -> list[Tensor]:
    """What each network says of images by the mean probability of several views of each.

    Args:
        ask: the networks.
        images: to ask about.
        plain: what each network said of them as they are, which is the first view.
        name: of their split.
        tta: which views, a key of `VIEWS`.

    Returns:
        Of each network, float32 [n, classes]: the logarithm of that mean.
    """
    views = VIEWS[tta]
    said = [list(plain)]
    for view in ask.watched(f"{len(views)} views of each image", [partial(_seen, view) for view in views[1:]]):
        said.append(ask.each(images, name, view))
    return [together(of_network) for of_network in zip(*said, strict=True)]


def corrupted(ask: Asking, images: Split, name: str, count: int) -> dict[str, Any]:
    """The share of right answers about corrupted images.

    Args:
        ask: the networks.
        images: of which some are corrupted.
        name: of their split.
        count: how many, the same share of every class.

    Returns:
        How many `images`; their `clean_top1`; by each corruption's name its `top1` at severities 1 to 5; `mean_top1`.
    """
    chosen = stratified(images.labels, min(count, len(images)), 0, "corruptions")
    some = images.take(chosen)
    passes: list[Alter | None] = [None, *(
        partial(_corrupt, corruption, severity, chosen) for corruption in CORRUPTIONS for severity in SEVERITIES
    )]  # fmt: skip
    top1 = [
        Scores.of(together(ask.each(some, name, alter)), some.labels).metrics()["top1"]
        for alter in ask.watched(f"{len(CORRUPTIONS)} corruptions of {len(some):,} images", passes)
    ]
    clean, rest = top1[0], top1[1:]
    rows = {
        corruption: rest[place * len(SEVERITIES) : (place + 1) * len(SEVERITIES)]
        for place, corruption in enumerate(CORRUPTIONS)
    }
    mean = round(sum(rest) / len(rest), DIGITS)
    return {"images": len(some), "clean_top1": clean, "mean_top1": mean, "top1": rows}


def _seen(view: View, images: Tensor, _: Tensor) -> Tensor:
    return view(images)


def _corrupt(corruption: str, severity: int, chosen: Tensor, images: Tensor, places: Tensor) -> Tensor:
    return corrupt(corruption, severity, images, chosen.to(places.device)[places])
