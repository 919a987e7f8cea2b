"""The `data` group: which images, how many, how they are split and grouped into batches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vgg_cifar.data.sources import SOURCES
from vgg_cifar.options import Count, Fraction, Options, Positive

if TYPE_CHECKING:
    from vgg_cifar.data.dataset import Dataset, Split

PROJECT = Path(__file__).resolve().parents[3]
DEFAULT_ROOT = PROJECT / "data"


class _Data(Options):
    batch_size: Count | Literal["auto"]
    """Images per optimizer step, over all devices and accumulated batches together; auto looks for the smallest
    power of two that trains about as fast as any, see `tuning`."""
    eval_batch_size: Count
    """Images per batch when evaluating. A batch is never shared between devices, so metrics do not depend on them."""
    val_fraction: Fraction
    """Share of the training images held out for validation, the same from every class; 0 trains on all of them."""
    train_size: Count | None
    """Training images to use, before holding out, the same share of every class; null takes all."""
    test_size: Count | None
    """Test images to use, the same share of every class; null takes all."""
    seed: int
    """Decides which images are held out or left out. Apart from the run's seed, so that seeds can be compared."""
    memory: Literal["auto", "device", "host"]
    """Where images lie while a run goes on: on the device, or in the host's memory, at the price of a copy per batch;
    auto takes the host where the device has no room for them."""
    mean: Annotated[list[float], Field(min_length=3, max_length=3)]
    """Red, green and blue that are subtracted, for pixels in [0, 1]."""
    std: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    """Red, green and blue that are divided by, for pixels in [0, 1]."""

    def cut(self, dataset: Dataset) -> Dataset:
        """As many of the images as a run uses."""
        return dataset.part(self.train_size, self.test_size, self.seed)

    def hold_out(self, dataset: Dataset) -> tuple[Split, Split | None]:
        """The training images to learn from, and those that are held out; None where none are."""
        return dataset.hold_out(self.val_fraction, self.seed)


class _Files(_Data):
    name: str
    root: str | None
    """Folder that holds the data set's folder; null: $CIFAR100_ROOT or $CIFAR10_ROOT, or the project's `data/`."""
    download: bool | None
    """Whether missing files may be downloaded; null: only into the project's own `data/`."""

    def folder(self) -> Path:
        """The absolute folder where the files are looked for."""
        named = Path(self.root).expanduser().absolute() if self.root else SOURCES[self.name].named_folder()
        return named or DEFAULT_ROOT

    def may_download(self) -> bool:
        """Whether missing files may be fetched from the network."""
        return self.folder() == DEFAULT_ROOT if self.download is None else self.download

    def refuse_missing_files(self) -> None:
        """See whether there is something to load; see `sources`."""
        SOURCES[self.name].refuse_missing_files(self.folder(), download=self.may_download())

    def load(self) -> Dataset:
        """Read and verify the files; see `files.load`."""
        from vgg_cifar.data.files import load

        return load(self.name, self.folder(), download=self.may_download())


class CIFAR100(_Files):
    """The 60,000 images in 100 classes of A. Krizhevsky, 2009."""

    name: Literal["cifar100"]


class CIFAR10(_Files):
    """The 60,000 images in 10 classes of A. Krizhevsky, 2009."""

    name: Literal["cifar10"]


class Synthetic(_Data):
    """Generated images in 100 classes: no files, no network, yet something that has to be learned."""

    name: Literal["synthetic"]
    train_size: Count
    test_size: Count

    def refuse_missing_files(self) -> None:
        """There are none."""

    def load(self) -> Dataset:
        """Draw the images; see `synthetic.generate`."""
        from vgg_cifar.data.synthetic import generate

        return generate(self.train_size, self.test_size, self.seed)


DataOptions = Annotated[CIFAR100 | CIFAR10 | Synthetic, Field(discriminator="name")]
