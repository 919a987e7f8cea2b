"""The `model` group: which VGG, and what it starts from."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from vgg_cifar.custom import Custom
from vgg_cifar.dropout import DropoutOptions
from vgg_cifar.errors import UserError, first_line
from vgg_cifar.limits import refuse_to_swell
from vgg_cifar.options import Count, Options

if TYPE_CHECKING:
    from torch import nn

    from vgg_cifar.vgg import VGG

log = logging.getLogger(__name__)


class VGGOptions(Options):
    """A VGG with batch norm."""

    name: Literal["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn", "vgg16_bn_original"]
    depth: Literal[11, 13, 16, 19]
    """Layers with weights when there are three fully connected ones."""
    hidden: list[Count]
    """Sizes of the fully connected layers before the last one; [] leaves a single one."""
    pool: Literal["max", "average"]
    """How each block halves its image: "max" or "average"."""
    grid: Annotated[int, Field(ge=1, le=7)]
    """Side of the average pooling before the fully connected layers; 7 is torchvision's, for ImageNet."""
    init: Literal["kaiming", "dirac", "default"]
    """Initial weights of convolutions: "kaiming" is He's, as in torchvision's VGG; with "dirac" a filter for each input
    begins as a copy of it, the others as He's; "default" is what torch gives each layer."""
    whiten: bool
    """Whether the first convolution begins with the principal directions of the training images' 3x3 patches instead,
    each divided by its deviation; see `whitening`."""
    bn_momentum: Annotated[float, Field(gt=0, le=1)]
    """Share of each batch in batch norm's running statistics, as torch counts it: more follows the weights faster and
    scatters more."""
    width: Annotated[float, Field(gt=0, le=16)]
    """Factor on the number of channels; 1 is VGG, less is faster and learns less."""
    weights: str | None
    """File with a state dict to start from, torchvision's vgg16_bn or a checkpoint of a run; null: from `init`."""

    @model_validator(mode="after")
    def _one_first_layer(self) -> Self:
        if self.whiten and self.weights is not None:
            raise ValueError(
                "model.whiten: a file of weights has a first layer of its own; set model.whiten=false or "
                "model.weights=null"
            )
        return self

    def build(self, classes: int, dropout: DropoutOptions) -> VGG:
        """Make the network, drawing its weights from torch's global generator.

        Raises:
            UserError: if `weights` cannot be loaded.
        """
        import torch

        from vgg_cifar.vgg import VGG

        network = VGG(
            depth=self.depth,
            classes=classes,
            hidden=self.hidden,
            pool=self.pool,
            grid=self.grid,
            init=self.init,
            bn_momentum=self.bn_momentum,
            width=self.width,
            head_dropout=dropout.in_head,
            block_dropout=dropout.in_blocks,
        )
        if self.weights is not None:
            load_weights(network, self._file(self.weights))
        return network.to(memory_format=torch.channels_last)

    def refuse_missing_files(self) -> None:
        """See whether there are weights to load.

        Raises:
            UserError: if their file is not there.
        """
        if self.weights is not None and not os.path.isfile(self._file(self.weights)):  # noqa: PTH113  # of any length
            raise UserError(f"model.weights: there is no file {self._file(self.weights)}")

    def without_weights(self) -> Self:
        """The same network, to be filled from a checkpoint."""
        return self.model_copy(update={"weights": None})

    @staticmethod
    def _file(typed: str) -> Path:
        return Path(os.path.expanduser(typed)).absolute()  # noqa: PTH111  # Path refuses a ~ of nobody


class CustomModel(Custom):
    """Any class that derives from `torch.nn.Module` and turns images [n, 3, 32, 32] into logits [n, classes]."""

    group = "model"
    base = "torch.nn.Module"
    filled = ("num_classes", "classes")

    def build(self, classes: int, dropout: DropoutOptions) -> nn.Module:
        """Make the network; `num_classes` or `classes`, if the class has it and it is not given, is the data's.

        Raises:
            UserError: if the class refuses its arguments, or its output is not a logit per class.
        """
        import torch

        counts = {name: classes for name in self.filled if self.takes(name)}
        try:
            network: nn.Module = self.make(**counts)
        except ValueError as error:
            raise UserError(str(error)) from error
        try:
            with torch.no_grad():
                logits = network.eval()(torch.zeros(2, 3, 32, 32))
        except Exception as error:
            reason = first_line(error)
            raise UserError(f"model: {self.target} does not take images of shape [n, 3, 32, 32]: {reason}") from error
        if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
            shape = list(getattr(logits, "shape", [])) or type(logits).__name__
            raise UserError(f"model: {self.target} makes {shape} of two images, should make [2, {classes}]")
        return network.train().to(memory_format=torch.channels_last)

    def refuse_missing_files(self) -> None:
        """There are none."""

    def without_weights(self) -> Self:
        """The same network, to be filled from a checkpoint."""
        return self


ModelOptions = Annotated[VGGOptions | CustomModel, Field(discriminator="name")]


def load_weights(network: VGG, path: Path) -> None:
    """Copy every tensor of a state dict that has the network's name and shape; say which were left out.

    Args:
        network: changed in place.
        path: a state dict, or a checkpoint with one under "state_dict" (a prefix "network." is taken off).

    Raises:
        UserError: if the file cannot be read as plain tensors or fits none of the convolutions.
    """
    import torch

    try:
        refuse_to_swell(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"model.weights: there is no file {path}") from error
    except Exception as error:
        # torch's own words advise to load it unsafely.
        raise UserError(f"model.weights: {path} is refused: it is damaged, or holds more than plain tensors") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    items = state.items() if isinstance(state, dict) else ()
    state = {str(name).removeprefix("network."): value for name, value in items}
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and name in own
        and value.shape == own[name].shape
    }
    convolutions = [name for name in own if name.startswith("features.")]
    missing = [name for name in convolutions if name not in fitting]
    if missing:
        raise UserError(
            f"model.weights: {path} does not fit this network: {len(missing)} of {len(convolutions)} tensors of its "
            f"convolutional part are missing or of another shape, the first is {missing[0]}"
        )
    network.load_state_dict(fitting, strict=False)
    left_out = [name for name in own if name not in fitting]
    log.info(
        "Started from %s: %d tensors%s.",
        path,
        len(fitting),
        f"; left as drawn: {', '.join(left_out)}" if left_out else "",
    )
