"""The Custom Scalars page: curves that belong together, in one picture."""

from __future__ import annotations

import re
from collections.abc import Sequence

TRAINING = {
    "loss": ["Multiline", ["train/loss", "val/loss", "test/loss"]],
    "top-1": ["Multiline", ["train/top1", "val/top1", "test/top1"]],
    "top-5": ["Multiline", ["val/top5", "test/top5"]],
    "loss within epochs": ["Multiline", ["train/step_loss"]],
    "learning rate": ["Multiline", ["lr"]],
    "images per second": ["Multiline", ["images_per_second"]],
}
OF_CIFAR100 = {
    "mammals": (
        "aquatic_mammals", "small_mammals", "medium_mammals", "large_carnivores", "large_omnivores_and_herbivores",
    ),
    "other animals, people": ("fish", "insects", "non-insect_invertebrates", "reptiles", "people"),
    "plants, food, landscapes": (
        "flowers", "fruit_and_vegetables", "trees", "food_containers", "large_natural_outdoor_scenes",
    ),
    "furniture, buildings, vehicles": (
        "household_electrical_devices", "household_furniture", "large_man-made_outdoor_things", "vehicles_1",
        "vehicles_2",
    ),
}  # fmt: skip
"""CIFAR-100's superclasses, as many to a chart as an eye can tell apart."""
IN_A_CHART = 5


def custom_scalars(superclasses: Sequence[str], split: str) -> dict[str, dict[str, list[str | list[str]]]]:
    """Categories of charts, for `SummaryWriter.add_custom_scalars`.

    Args:
        superclasses: their names; empty where there are none.
        split: whose accuracies by superclass are shown, `val` or `test`.

    Returns:
        By category and title of a chart: its kind, and the patterns of its tags, which TensorBoard matches from their
        beginning.
    """
    categories: dict[str, dict[str, list[str | list[str]]]] = {"training": dict(TRAINING)}  # type: ignore[arg-type]
    if superclasses:
        categories[f"{split} top-1 by superclass"] = {
            title: ["Multiline", [f"{split}_top1_by_superclass/{re.escape(name)}$" for name in names]]
            for title, names in _charts(superclasses).items()
        }
    return categories


def _charts(superclasses: Sequence[str]) -> dict[str, Sequence[str]]:
    if sorted(superclasses) == sorted(name for names in OF_CIFAR100.values() for name in names):
        return dict(OF_CIFAR100)
    starts = range(0, len(superclasses), IN_A_CHART)
    return {
        f"superclasses {start + 1} to {min(start + IN_A_CHART, len(superclasses))}": superclasses[
            start : start + IN_A_CHART
        ]
        for start in starts
    }
