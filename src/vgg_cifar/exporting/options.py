"""What `src/export.py` may be asked, as `key=value`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vgg_cifar.options import Options

FormatName = Literal["onnx", "torch_export", "safetensors"]


class ExportOptions(Options):
    """Which files to make, and what to find out of each."""

    format: Annotated[list[FormatName], Field(min_length=1)]
    """The kinds of files, see `formats.FORMATS`."""
    images: Annotated[int, Field(ge=0)] | Literal["all"] | None = None
    """Test images of the proof, the same share of every class; None takes 1,000, or all where there are fewer; 0 proves
    nothing."""
    int8: bool = False
    """Whether to quantise the ONNX file too, by training images; what that costs is reported, not bounded."""
    speed: bool = True
    """Whether to measure images per second, for which nothing else should run on the machine."""
