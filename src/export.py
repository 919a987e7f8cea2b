"""Write a trained network for other programs, and prove that it is the same network.

python src/export.py run=FOLDER [format=onnx,torch_export,safetensors] [checkpoint=best|last|FILE] [images=1000|all|0]
                     [int8=true] [speed=false] [data.root=FOLDER] [to=FOLDER] [allow=PACKAGE,...]

The files lie in the run's `export/`, or in `to`. `images` test images are asked of each file; `int8=true` makes
`model.int8.onnx` too; `speed=false` measures no images per second. Exit code 1: a file did not agree, and is removed.
"""

import vgg_cifar.interruptible  # noqa: F401

# isort: split
import sys
from typing import Literal

from vgg_cifar.command_line import guard, key_values, listed, quiet, register_resolvers
from vgg_cifar.errors import UserError

KNOWN: dict[str, str | None] = {
    "run": None, "format": "onnx", "checkpoint": None, "images": None, "int8": "false", "speed": "true",
    "data.root": None, "to": None, "allow": None,
}  # fmt: skip


def main() -> int:
    """Export, and say what was found."""
    given = key_values(sys.argv[1:], KNOWN)
    if given["run"] is None:
        raise UserError("run: which one? run=outputs/train/...")
    formats = list(dict.fromkeys(listed(given["format"])))
    if not formats:
        raise UserError("format: which one? format=onnx")
    images, int8, measure = _images(given["images"]), _switch("int8", given["int8"]), _switch("speed", given["speed"])
    quiet()
    register_resolvers()
    from vgg_cifar.exporting import export
    from vgg_cifar.reporting.export_summary import exported
    from vgg_cifar.runs.folder import RunFolder

    folder = RunFolder.existing(given["run"], "run")
    found = export(
        folder, formats, given["checkpoint"], images, given["data.root"], listed(given["allow"]),
        int8=int8, measure=measure, to=given["to"],
    )  # fmt: skip
    exported(found, folder.export if given["to"] is None else RunFolder(given["to"]).path)
    return 0


def _images(typed: str | None) -> int | Literal["all"] | None:
    if typed is None or typed == "all":
        return typed  # type: ignore[return-value]  # mypy does not see that it is that word
    if not (typed.isascii() and typed.isdecimal() and len(typed) < 10):
        raise UserError(f"images: should be a whole number or all, is {typed}")
    return int(typed)


def _switch(key: str, typed: str | None) -> bool:
    if typed not in ("true", "false"):
        raise UserError(f"{key}: should be true or false, is {typed}")
    return typed == "true"


if __name__ == "__main__":
    guard(main, __doc__)
