"""The `augmentation` group: what happens to training images before the network sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vgg_cifar.options import Options

if TYPE_CHECKING:
    from vgg_cifar.data.loader import Augment


class NoAugmentation(Options):
    """Training images as they are."""

    name: Literal["none"]

    def build(self, seed: int) -> Augment | None:
        """Nothing to do."""
        return None


class Standard(Options):
    """A shifted crop and a mirror image half of the time, as nearly every CIFAR recipe has them."""

    name: Literal["standard"]
    padding: Annotated[int, Field(ge=0, le=31)]
    """Black pixels added on each side before a 32x32 crop is taken; also the farthest shift."""
    flip: bool
    """Whether half of the images are mirrored left to right."""

    def build(self, seed: int) -> Augment | None:
        """The batched function; see `geometry.Geometry`."""
        from vgg_cifar.augmentation.geometry import Geometry

        return Geometry(seed, padding=self.padding, flip=self.flip)


class Rotate(Standard):
    """`standard`, then a rotation."""

    name: Literal["rotate"]  # type: ignore[assignment]
    degrees: Annotated[float, Field(ge=0, le=180)]
    """The largest angle, to either side; angles are drawn evenly."""

    def build(self, seed: int) -> Augment | None:
        """The batched function; see `geometry.Geometry`."""
        from vgg_cifar.augmentation.geometry import Geometry

        return Geometry(seed, padding=self.padding, flip=self.flip, degrees=self.degrees)


AugmentationOptions = Annotated[NoAugmentation | Standard | Rotate, Field(discriminator="name")]
