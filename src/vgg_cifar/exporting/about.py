"""What an exported file says about itself."""

from __future__ import annotations

import json
import math
from typing import Any

from vgg_cifar.model import VGGOptions
from vgg_cifar.trained import Trained

IMAGES = {
    "input": "images: uint8 [n, 32, 32, 3], RGB, 0 to 255, as they are: mean and std are applied inside",
    "output": "probabilities: float32 [n, classes], in the order of classes",
}
"""Of a file that has the preprocessing inside."""
NORMALISED = {
    "input": "float32 [n, 3, 32, 32], RGB, (pixel / 255 - mean) / std of pixels from 0 to 255",
    "output": "logits: float32 [n, classes], in the order of classes; their softmax are the probabilities",
}
"""Of the bare network."""


def describe(trained: Trained, *, tested: bool) -> dict[str, str]:
    """Where a network comes from and what its outputs mean: words as they are, everything else as JSON.

    Args:
        trained: the network.
        tested: whether the run's own result may be of this checkpoint: one that it named itself.

    Raises:
        UserError: if the run's manifest is damaged.
    """
    folder, data = trained.folder, trained.config.data
    git, result = folder.last_process()["git"], folder.read_result()
    same = tested and (trained.checkpoint, trained.epoch) == tuple(
        result.get(key) for key in ("tested_checkpoint", "tested_epoch")
    )
    top1 = result.get("test/top1") if same else None
    known: dict[str, Any] = {
        "run": folder.path.name,
        "name": trained.config.name,
        "checkpoint": trained.checkpoint,
        "epoch": trained.epoch,
        "test/top1": top1 if isinstance(top1, float) and math.isfinite(top1) else None,
        "commit": git.get("commit"),
        "dirty": git.get("dirty"),
        "data": data.name,
        "classes": trained.classes,
        "superclasses": trained.superclass_names,
        "mean": data.mean,
        "std": data.std,
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in known.items()}


def architecture(trained: Trained) -> dict[str, str]:
    """How to build the bare network: `vgg` has the arguments of `vgg.VGG`, `model` the options of another class."""
    options = trained.config.model
    if not isinstance(options, VGGOptions):
        return {"model": options.model_dump_json()}
    chosen = {key: getattr(options, key) for key in ("depth", "hidden", "pool", "grid", "width")}
    return {"vgg": json.dumps(chosen | {"classes": len(trained.classes)})}
