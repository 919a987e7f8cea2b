"""What `src/evaluate.py` may be asked, as `key=value`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vgg_cifar.options import Count, Options


class EvaluationOptions(Options):
    """What to find out beside the plain answers, which always are."""

    split: Literal["test", "val"] = "test"
    """Which images: the test set, or those that the run held out of its training images."""
    tta: Literal["none", "flip", "multicrop"] = "none"
    """Views of each image over which the probabilities are averaged as well, see `views`."""
    corruptions: Annotated[int, Field(ge=0)] = 0
    """Images to corrupt in fifteen ways at five severities, as evenly from all classes as it goes; 0 corrupts none."""
    cost: bool = False
    """Whether to measure latency and throughput, for which nothing else should run on the machine."""
    report: bool = True
    """Whether tables, pictures and a page are made, and not the numbers alone."""
    devices: Count = 1
    """GPUs, or processes on a CPU; the answers do not depend on it."""
