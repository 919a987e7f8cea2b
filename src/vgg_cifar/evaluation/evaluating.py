"""From trained networks to what they know of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from torch import Tensor

from vgg_cifar.data.dataset import Dataset, Split, stratified
from vgg_cifar.errors import UserError
from vgg_cifar.evaluation import calibration
from vgg_cifar.evaluation.asking import Asking, together
from vgg_cifar.evaluation.cost import cost
from vgg_cifar.evaluation.findings import Findings
from vgg_cifar.evaluation.options import EvaluationOptions
from vgg_cifar.evaluation.robustness import augmented, corrupted
from vgg_cifar.evaluation.scores import Scores
from vgg_cifar.evaluation.views import VIEWS
from vgg_cifar.options import flat
from vgg_cifar.parts import make_datamodule
from vgg_cifar.runs.manifest import git_state
from vgg_cifar.trained import Trained

MOST_CONFUSED = 30
"""Pairs of classes in `metrics.json`."""
EMBEDDED = 2000
"""Images whose features are kept, the same share of every class."""
BESIDE_THE_POINT = ("data.batch_size", "data.eval_batch_size", "data.root", "data.download", "data.memory", "data.mean",
                    "data.std")  # fmt: skip
"""Options of the images that may differ between networks that are asked together."""


def evaluate(
    members: Sequence[Trained], options: EvaluationOptions | None = None, known: Tensor | None = None
) -> Findings | None:
    """Ask a run's network about images, or several runs' networks together.

    Args:
        members: the networks; of several the probabilities are averaged.
        options: what to find out beside the plain answers.
        known: the logits of the one run's test images where they are at hand, so that these are not read again.

    Returns:
        What was found; None on a rank that has nothing to tell, where there are several devices.

    Raises:
        UserError: if the images are not to be had, or the networks do not go together.
    """
    options = options or EvaluationOptions()
    _refuse_unless_they_go_together(members, options)
    datamodule = make_datamodule(members[0].config)
    dataset, val = datamodule.dataset, datamodule.val
    split: Split | None = val if options.split == "val" else dataset.test
    if split is None:
        raise UserError(f"split: {members[0].folder.path} held no images out; there is split=test alone")
    with Asking(members, options.devices) as ask:
        images = ask.counted(split, options.split)
        metrics = _heading(members, options, ask, len(images))
        metrics["git"] = git_state() if known is None else members[0].folder.last_process()["git"]
        own = ask.each(images, options.split) if known is None else [known]
        logits = together(own)
        scores, temperature, calibrated = Scores.of(logits, images.labels, dataset.superclass_of), None, None
        if val is not None:
            val = ask.counted(val, "val")
            of_val = logits if options.split == "val" else together(ask.each(val, "val"))
            temperature = calibration.temperature(of_val, val.labels)
            if options.split == "test":
                calibrated = Scores.of(logits / temperature, images.labels, dataset.superclass_of)
        metrics |= _metrics(scores, calibrated, temperature, options.split, dataset.classes)
        numbers = partial(_numbers, images, dataset, options.split)
        alone = [numbers(each) for each in own] if len(members) > 1 else []
        if options.tta != "none":
            viewed = augmented(ask, images, own, options.split, options.tta)
            views = {"name": options.tta, "views": len(VIEWS[options.tta])}
            metrics["tta"] = views | numbers(together(viewed))
            alone = [found | {"tta": views | numbers(each)} for found, each in zip(alone, viewed, strict=False)]
        if alone:
            metrics["members"] = _by_themselves(members, alone)
        if options.corruptions:
            metrics["corruptions"] = corrupted(ask, images, options.split, options.corruptions)
        if not ask.first:
            return None
        features = None
        if len(members) == 1:
            metrics |= _cost(members[0], ask, options)
            features = _features(ask, images)
    return Findings(list(members), options.split, images, dataset, scores, temperature, calibrated, features, metrics)


def _refuse_unless_they_go_together(members: Sequence[Trained], options: EvaluationOptions) -> None:
    first, *others = members
    if others and options.devices > 1:
        raise UserError("devices: several runs are asked on one device; leave devices out")
    for other in others:
        one, another = (
            {key: value for key, value in flat(each.config.data.model_dump(), "data.").items()
             if key not in BESIDE_THE_POINT}
            for each in (first, other)
        )  # fmt: skip
        for key in one | another:
            if one.get(key) != another.get(key):
                raise UserError(
                    f"run: {other.folder.path} has {key}={another.get(key)}, {first.folder.path} has {one.get(key)}; "
                    "only runs with the same images can be asked together"
                )


def _heading(members: Sequence[Trained], options: EvaluationOptions, ask: Asking, images: int) -> dict[str, Any]:
    """What was asked, and how."""
    only, chosen = members[0] if len(members) == 1 else None, ask.inferences[0].chosen
    return {
        "split": options.split,
        "images": images,
        "checkpoint": only.checkpoint if only else None,
        "epoch": only.epoch if only else None,
        "accelerator": chosen["accelerator"],
        "precision": chosen["precision"],
    }


def _by_themselves(members: Sequence[Trained], numbers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The metrics of each of several networks."""
    return [
        {"run": str(member.folder.path), "checkpoint": member.checkpoint, "epoch": member.epoch} | each
        for member, each in zip(members, numbers, strict=True)
    ]


def _numbers(images: Split, dataset: Dataset, split: str, logits: Tensor) -> dict[str, Any]:
    """The metrics of what was said of images."""
    return _named(Scores.of(logits, images.labels, dataset.superclass_of), split)


def _named(scores: Scores, split: str) -> dict[str, Any]:
    return {f"{split}/{name}": value for name, value in scores.metrics().items()}


def _cost(member: Trained, ask: Asking, options: EvaluationOptions) -> dict[str, Any]:
    """What the network costs, but for a class of the user's own, which may not be traceable."""
    if member.config.model.name == "custom":
        return {}
    return {"cost": asdict(cost(member.network, ask.inferences[0].speed() if options.cost else None))}


def _features(ask: Asking, images: Split) -> tuple[Tensor, Tensor] | None:
    """What the last layer sees of some of the images, the same share of every class, and their places."""
    places = stratified(images.labels, min(EMBEDDED, len(images)), 0, "features")
    seen = ask.inferences[0].features(images.images[places])
    return None if seen is None else (seen, places)


def _metrics(
    scores: Scores, calibrated: Scores | None, temperature: float | None, split: str, classes: list[str]
) -> dict[str, Any]:
    found: dict[str, Any] = _named(scores, split)
    found["temperature"] = temperature
    if calibrated is not None:
        after = calibrated.metrics()
        found |= {f"{split}/calibrated_{name}": after[name] for name in ("loss", "ece")}
    found["confused"] = [
        {"class": classes[label], "taken_for": classes[taken], "images": count}
        for label, taken, count in scores.confused(MOST_CONFUSED)
    ]
    return found
