"""A trained network out of a run's folder, with all that is needed to ask it something."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vgg_cifar import hardware
from vgg_cifar.composition import stored_config
from vgg_cifar.config import Config
from vgg_cifar.data.loader import Normalise
from vgg_cifar.errors import RunError, UserError, first_line
from vgg_cifar.options import did_you_mean
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder

PREFIX = "network."
"""Of a network's tensors in a checkpoint."""


@dataclass(frozen=True)
class Trained:
    """A network as a checkpoint has it.

    Attributes:
        folder: of the run.
        config: of the run, with the images where they are now.
        network: normalised float32 images [n, 3, 32, 32] to logits [n, classes]; in evaluation mode, on the CPU.
        file: the checkpoint.
        epoch: after which it was written, from 1.
        classes: a name per class.
        superclass_names: of each class, the name of its superclass; empty where there are none.
    """

    folder: RunFolder
    config: Config
    network: nn.Module
    file: Path
    epoch: int
    classes: list[str]
    superclass_names: list[str]

    @property
    def checkpoint(self) -> str:
        """The checkpoint's name: "best", "last" or another."""
        return self.file.stem

    def probabilities(self, images: Tensor) -> Tensor:
        """What the network takes images for, in float32 whatever the run was trained in.

        Args:
            images: uint8 [n, 3, 32, 32], on the device where the network is.

        Returns:
            float32 [n, classes], on that device.

        Raises:
            RunError: if what the network computes is not finite.
        """
        normalise = Normalise.of(self.config.data.mean, self.config.data.std, images.device)
        with torch.no_grad(), hardware.in_float32(images.device):
            logits: Tensor = self.network(normalise(images)).float()
            if not logits.isfinite().all():
                raise RunError(f"{self.folder.path}: the network computes numbers that are not finite")
            return logits.softmax(1)


def restore(
    folder: RunFolder,
    which: str | Path | None = None,
    data_root: str | None = None,
    allow: Sequence[str] = (),
    config: Config | None = None,
) -> Trained:
    """Build a run's network and fill it.

    Args:
        folder: the run's.
        which: "best", "last", "epoch_N" or a checkpoint's file; None takes the one that the run itself tested.
        data_root: where the images are, if no longer where the run found them.
        allow: packages beside torch's, torchvision's and timm's whose classes the run's configuration may name.
        config: of the run, where it is at hand.

    Raises:
        UserError: if there is no such checkpoint, or it does not fit the run's configuration.
    """
    file = _file(folder, which)
    config = config or stored_config(folder.read_config(), allow)
    if data_root:
        config = config.model_copy(update={"data": config.data.model_copy(update={"root": data_root})})
    content = checkpoints.read(file)
    state, epoch = content.get("state_dict"), content.get("epoch")
    if not isinstance(state, dict) or not isinstance(epoch, int):
        raise UserError(f"{file} is no checkpoint: it lacks the weights or the epoch")
    classes, superclass_names = _names(content, config)
    network = config.model.without_weights().build(len(classes), config.dropout)
    try:
        network.load_state_dict({str(name).removeprefix(PREFIX): value for name, value in state.items()})
    except (RuntimeError, AttributeError, TypeError) as error:
        wanted = {PREFIX + name: tensor for name, tensor in network.state_dict().items()}
        reason = _difference(state, wanted) or first_line(error)
        raise UserError(f"{file} does not fit the run's config.yaml: {reason}") from error
    return Trained(folder, config, network.eval(), file, epoch + 1, classes, superclass_names)


def _file(folder: RunFolder, which: str | Path | None) -> Path:
    """The checkpoint's file.

    Raises:
        UserError: if it is not there.
    """
    if which is None:
        which = folder.read_result().get("tested_checkpoint", "last")
        if which not in ("best", "last"):
            raise UserError(f"{folder.result} is damaged: tested_checkpoint should be best or last, is {which!r}")
    named = Path(os.path.expanduser(which)).absolute()  # noqa: PTH111  # Path refuses the ~ of a user that is not there
    file = folder.checkpoint(str(which)) if re.fullmatch(r"best|last|epoch_\d+", str(which)) else named
    if not file.is_file():
        there = sorted(path.stem for path in folder.checkpoints.glob("*.ckpt"))
        if not there:
            why = f", nor any other; resume={folder.path} goes on with a run that was ended early"
        else:
            why = did_you_mean(Path(which).stem, there) or f"; the run has {', '.join(there)}"
        raise UserError(f"checkpoint: there is no {file}{why}")
    return file


def _difference(state: dict[Any, Any], wanted: dict[str, Any]) -> str:
    """How the tensors of a checkpoint first differ from a network's, and in how many more; nothing where they fit."""
    found = [f"it lacks {name} {_shape(tensor)}" for name, tensor in wanted.items() if name not in state]
    found += [
        f"its {name} is {_shape(state[name])}, the config's is {_shape(tensor)}"
        for name, tensor in wanted.items()
        if name in state and _shape(state[name]) != _shape(tensor)
    ]
    found += [f"its {name} is not in the config's network" for name in state if name not in wanted]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0]}{more}" if found else ""


def _shape(value: Any) -> str:
    return str(list(value.shape)) if hasattr(value, "shape") else f"a {type(value).__name__}"


def _names(content: dict[str, Any], config: Config) -> tuple[list[str], list[str]]:
    """The names of classes and of each one's superclass: the checkpoint's; an older one leaves them to the images."""
    if not content.get("classes"):
        dataset = config.data.load()
        return dataset.classes, dataset.superclass_names
    classes: list[str] = content["classes"]
    superclass_names: list[str] = content.get("superclasses", [])
    for names in (classes, superclass_names):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError("the checkpoint is damaged: its names of classes are no words")
    return classes, superclass_names
