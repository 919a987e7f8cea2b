"""What `src/evaluate.py` may be asked, as `key=value`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from vgg_cifar.errors import UserError
from vgg_cifar.options import Count, Options, in_one_line


class EvaluationOptions(Options):
    """What to find out beside the plain answers, which always are."""

    split: Literal["test", "val"] = "test"
    """Which images: the test set, or those that the run held out of its training images."""
    tta: Literal["none", "flip", "multicrop"] = "none"
    """Views of each image over which the probabilities are averaged as well, see `views`."""
    corruptions: Annotated[int, Field(ge=0)] = 0
    """Images to corrupt in fifteen ways at five severities, the same share of every class; 0 corrupts none."""
    cost: bool = False
    """Whether to measure latency and throughput, for which nothing else should run on the machine."""
    report: bool = True
    """Whether tables, pictures and a page are made, and not the numbers alone."""
    devices: Count = 1
    """GPUs, or processes on a CPU; the answers do not depend on it."""


def options_of(typed: dict[str, str | None]) -> EvaluationOptions:
    """The options as they were typed; what is None was not.

    Raises:
        UserError: naming the first that is not allowed.
    """
    raw = {key: _value(value) for key, value in typed.items() if value is not None}
    try:
        return EvaluationOptions.model_validate(raw)
    except ValidationError as error:
        raise UserError(in_one_line(error, raw, EvaluationOptions)) from error


def _value(typed: str) -> object:
    if typed.isascii() and typed.isdecimal():
        return int(typed)
    return {"true": True, "false": False}.get(typed, typed)
