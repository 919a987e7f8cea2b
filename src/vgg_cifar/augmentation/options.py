"""The `augmentation` group: what happens to training images before the network sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from vgg_cifar.options import Options

if TYPE_CHECKING:
    from vgg_cifar.augmentation.batch import Step
    from vgg_cifar.data.loader import Augment, Mix


class Augmentation(Options):
    """Every choice in one class, so that all of it combines; see `docs/augmentation.md`.

    An image is cropped and flipped, then rotated, goes through the policy, loses what `erase` and `cutout` take, and is
    mixed with another.
    """

    name: Literal[
        "none", "standard", "rotate", "cutout", "erase", "trivial", "rand", "auto", "mixup", "cutmix", "mix", "regmixup"
    ]
    padding: Annotated[int, Field(ge=0, le=31)]
    """Pixels added on each side before a 32x32 crop is taken; also the farthest shift. 0 to 31; 0: no crop."""
    padding_mode: Literal["zero", "reflect"]
    """What is added there: "zero" is black, "reflect" the image's own mirror image."""
    flip: bool | Literal["alternating"]
    """Whether half of the images, drawn anew each epoch, are mirrored left to right; alternating: each image every
    other epoch, half of them beginning with the first (Jordan, 2024)."""
    degrees: Annotated[float, Field(ge=0, le=180)]
    """The largest rotation, to either side; angles are drawn evenly. 0 to 180; 0: none."""
    policy: Literal["trivial", "rand", "auto"] | None
    """Drawn operations on geometry and colour: "trivial" is TrivialAugment in its wide form (Mueller and Hutter, 2021),
    "rand" RandAugment (Cubuk et al., 2020), "auto" AutoAugment as found for CIFAR-10 (Cubuk et al., 2019); null:
    none."""
    operations: Annotated[int, Field(ge=1, le=14)] | None
    """How many operations RandAugment draws for an image, 1 to 14; null for every other policy."""
    magnitude: Annotated[int, Field(ge=0, le=30)] | None
    """How strong RandAugment's operations are, 0 to 30; null for every other policy."""
    erase: Annotated[float, Field(ge=0, le=1)]
    """An image's chance, 0 to 1, to lose a rectangle of 2% to 33% of its area (Zhong et al., 2020). What is lost takes
    the data's mean colour, the 0 of normalised images."""
    cutout: Annotated[int, Field(ge=0, le=64)]
    """Side in pixels of a square that every image loses, centred anywhere, so often partly outside (DeVries and Taylor,
    2017), 0 to 64; 0: none. What is lost takes the data's mean colour, the 0 of normalised images."""

    mix: Literal["mixup", "cutmix", "both", "regmixup"] | None
    """What comes into an image from the one before it in the step: with "mixup" a part of every pixel (Zhang et al.,
    2018), with "cutmix" a box (Yun et al., 2019), with "both" either, for half of the images each; "regmixup" is
    "mixup" of a second copy, so that each image is seen whole too (Pinto et al., 2022), for twice the arithmetic; null:
    nothing. The loss is mixed as the images are."""
    mix_alpha: Annotated[float, Field(gt=0, le=32)]
    """An image's own share is drawn from Beta(alpha, alpha): 1 draws it evenly, less leaves most images nearly whole.
    Up to 32."""
    mix_probability: Annotated[float, Field(ge=0, le=1)]
    """An image's chance, 0 to 1, to be mixed."""
    mix_until: Annotated[float, Field(ge=0, le=1)]
    """When mixing ends, as a fraction of the run, 0 to 1; from then on images are whole. 1: never. It ends between
    epochs only."""

    @model_validator(mode="after")
    def _only_rand_augment_is_told_how_many_and_how_strong(self) -> Self:
        for option, value in (("operations", 2), ("magnitude", 9)):
            given = getattr(self, option)
            if self.policy == "rand" and given is None:
                raise ValueError(
                    f"augmentation.{option}: policy=rand needs a number; give augmentation.{option}={value}"
                )
            if self.policy != "rand" and given is not None:
                raise ValueError(
                    f"augmentation.{option}: only policy=rand takes it; set augmentation.policy=rand or "
                    f"augmentation.{option}=null"
                )
        return self

    def build(self, seed: int, mean: Sequence[float]) -> Augment | None:
        """The batched function; None if there is nothing to do.

        Args:
            seed: the run's.
            mean: the data's mean colour, red, green, blue in [0, 1].
        """
        from vgg_cifar.augmentation.batch import Steps
        from vgg_cifar.augmentation.erasing import Cutout, Erasing
        from vgg_cifar.augmentation.geometry import Crop, Flip, Rotation

        red, green, blue = (min(max(round(255 * part), 0), 255) for part in mean)
        steps: list[Step] = []
        if self.padding:
            steps.append(Crop(seed, self.padding, self.padding_mode))
        if self.flip:
            steps.append(Flip(seed, alternating=self.flip == "alternating"))
        if self.degrees:
            steps.append(Rotation(seed, self.degrees))
        if self.policy:
            steps.append(self._policy(seed))
        if self.erase:
            steps.append(Erasing(seed, self.erase, (red, green, blue)))
        if self.cutout:
            steps.append(Cutout(seed, self.cutout, (red, green, blue)))
        return Steps(tuple(steps)) if steps else None

    def first_stage(self) -> Augmentation:
        """What the run begins with, for all of it."""
        return self.model_copy(update={"mix_until": 1.0 if self.mix_until else 0.0})

    def mixing(self, seed: int) -> Mix | None:
        """The function that mixes pairs of images; None if none ever are. `seed` is the run's."""
        if self.mix is None or not self.mix_probability or not self.mix_until:
            return None
        from vgg_cifar.augmentation.mixing import Mixing

        return Mixing(self.mix, self.mix_alpha, self.mix_probability, seed)

    def _policy(self, seed: int) -> Step:
        from vgg_cifar.augmentation.policies import BINS, NARROW, WIDE, Even, Learned

        if self.policy == "trivial":
            return Even(seed, 1, WIDE, tuple(range(BINS)))
        if self.operations is not None and self.magnitude is not None:
            return Even(seed, self.operations, NARROW, (self.magnitude,))
        return Learned(seed)
