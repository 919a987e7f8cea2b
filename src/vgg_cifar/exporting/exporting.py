"""From a run's folder to files for other programs, each kept only if it computes what the network does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

from vgg_cifar import hardware
from vgg_cifar.data.dataset import Dataset, Split, stratified
from vgg_cifar.errors import RunError, UserError, first_line
from vgg_cifar.exporting import quantised
from vgg_cifar.exporting.about import describe
from vgg_cifar.exporting.formats import FORMATS, need
from vgg_cifar.exporting.options import ExportOptions, FormatName
from vgg_cifar.exporting.place import Place, describe_file, place
from vgg_cifar.exporting.proof import BOUND, Proof, Reference, compare, network_of, speed
from vgg_cifar.runs.folder import RunFolder, why_not
from vgg_cifar.runs.manifest import git_state, now
from vgg_cifar.trained import Trained, restore

T = TypeVar("T")

IMAGES = 1000
"""Test images of a proof, unless more or fewer are asked for."""
INT8 = "onnx_int8"
"""The quantised file, in `export.json`."""


def export(
    folder: RunFolder,
    options: ExportOptions,
    which: str | None = None,
    data_root: str | None = None,
    allow: Sequence[str] = (),
    to: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Write a run's network in some formats, and prove of each file that it is the network.

    A file is run by its own runtime on test images in float32. One whose probabilities are not within `BOUND` of the
    network's is removed; what an earlier export left in its place stays.

    Args:
        folder: the run's.
        options: which files, and what to find out of each.
        which: "best", "last", "epoch_N" or a checkpoint's file; None takes the one that the run itself tested.
        data_root: where the images are, if no longer where the run found them.
        allow: packages beside torch's, torchvision's and timm's whose classes the run's configuration may name.
        to: another folder for the files; None is the run's own `export/`.

    Returns:
        What was found of each file that was made now, by format, and of `onnx_int8`; also written to `export.json`.

    Raises:
        UserError: if there is no such checkpoint, a package is missing, or the images are not to be had.
        RunError: if a format does not take the network, a file cannot be written or does not agree, or the network
            computes numbers that are not finite.
    """
    formats, images, int8 = list(dict.fromkeys(options.format)), options.images, options.int8
    need(formats)
    if int8 and "onnx" not in formats:
        raise UserError("int8: is made from an ONNX file; add format=onnx")
    target = folder.export if to is None else RunFolder(to).path
    trained = restore(folder, which, data_root, allow)
    about = describe(trained, tested=which in (None, "best", "last"))
    dataset = _dataset(trained, optional=not int8) if int8 or images != 0 else None
    reference = Reference.of(trained, _some(dataset, images)) if dataset is not None and images != 0 else None
    with place(target) as where:
        work = _Work(trained, about, reference, options.speed, where)
        found: dict[str, dict[str, Any]] = {}
        for name in formats:
            found[name] = work.make(name)
            if int8 and name == "onnx":
                assert dataset is not None
                found[INT8] = work.quantise(_calibration(dataset, trained))
    return found


class _Work:
    """What all files of an export have in common, and how each of them is made."""

    def __init__(
        self, trained: Trained, about: dict[str, str], reference: Reference | None, measure: bool, where: Place
    ) -> None:
        self.trained = trained
        self.about = about
        self.reference = reference
        self.measure = measure
        self.where = where
        self.common = {
            "run": trained.folder.path.name,
            "checkpoint": trained.checkpoint,
            "epoch": trained.epoch,
            "made": now(),
            "git": git_state(),
            "hardware": hardware.description(),
            "pytorch_images_per_second": speed(network_of(trained)) if measure else None,
        }

    def make(self, name: FormatName) -> dict[str, Any]:
        """Write, prove and keep a file; what is known of it."""
        kind = FORMATS[name]
        path = self.where.aside / kind.file
        _attempt(path, "made of this network", lambda: kind.write(self.trained, self.about, path))
        return self._keep(name, path, name, bound=BOUND)

    def quantise(self, images: Split) -> dict[str, Any]:
        """The same for the ONNX file that was kept, in integers."""
        path = self.where.aside / quantised.FILE
        model = self.where.path / FORMATS["onnx"].file
        _attempt(path, "made of this network", lambda: quantised.quantise(model, images, path))
        return self._keep(INT8, path, "onnx", bound=None)

    def _keep(self, name: str, path: Path, format_: FormatName, bound: float | None) -> dict[str, Any]:
        kind = FORMATS[format_]
        predict = _attempt(path, "run", lambda: kind.run(path, self.trained))
        reference = self.reference
        proof = None if reference is None else _attempt(path, "run", lambda: compare(predict, reference))
        if proof is not None and bound is not None and not proof.holds(bound):
            raise RunError(_refusal(path.name, proof, bound))
        entry = self.common | describe_file(path)
        entry["packages"] = {package: version(package) for package in kind.packages}
        entry["proof"] = None if proof is None else proof.as_dict(bound)
        entry["images_per_second"] = speed(predict) if self.measure and kind.is_program else None
        self.where.keep(name, entry)
        return entry


def _refusal(file: str, proof: Proof, bound: float) -> str:
    return (
        f"{file} is not the network, and is removed: on {proof.images:,} test images probabilities differ by up to "
        f"{proof.difference:.2g}, more than {bound:g}"
    )


def _attempt(path: Path, what: str, work: Callable[[], T]) -> T:
    """Let a library write a file, or run it.

    Raises:
        RunError: if that fails, for instance because the network is of a kind that the format does not take.
    """
    try:
        return work()
    except OSError as error:
        raise RunError(f"{path.name} cannot be written: {why_not(error, path.parent)}") from error
    except Exception as error:
        raise RunError(f"{path.name} cannot be {what}, and is not there: {first_line(error)}") from error


def _dataset(trained: Trained, *, optional: bool) -> Dataset:
    """The run's images, as many as it used."""
    options = trained.config.data
    try:
        return options.cut(options.load())
    except UserError as error:
        without = "; images=0 exports without a proof" if optional else ""
        raise UserError(f"{error}{without}") from error


def _some(dataset: Dataset, images: int | Literal["all"] | None) -> Split:
    """Test images for a proof."""
    test = dataset.test
    count = len(test) if images == "all" else min(IMAGES, len(test)) if images is None else images
    return test.take(stratified(test.labels, count, 0, "images"))


def _calibration(dataset: Dataset, trained: Trained) -> Split:
    """Training images that the run learned from."""
    train, _ = trained.config.data.hold_out(dataset)
    return train.take(stratified(train.labels, min(quantised.CALIBRATION, len(train)), 0, "int8"))
