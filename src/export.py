"""Write a trained network for other programs, and prove that it is the same network.

python src/export.py run=FOLDER [format=onnx,torch_export,safetensors] [images=1000|all|0]
                     [checkpoint=best|last|epoch_N|FILE] [int8=true] [speed=false] [data.root=FOLDER] [to=FOLDER]
                     [allow=PACKAGE,...]

The files lie in the run's `export/`, or in `to`. `images` test images are asked of each file; `int8=true` makes
`model.int8.onnx` too; `speed=false` measures no images per second. Exit code 1: a file did not agree, and is removed.
"""

import vgg_cifar.interruptible  # noqa: F401

# isort: split
import sys
from pathlib import Path

from vgg_cifar.command_line import guard, key_values, listed, quiet, refuse_unwritable, register_resolvers
from vgg_cifar.exporting.options import ExportOptions
from vgg_cifar.options import options_of
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.placement import required

OWN = ("run", "checkpoint", "data.root", "to", "allow")


def main() -> int:
    """Export, and say what was found."""
    given = key_values(sys.argv[1:], dict.fromkeys([*OWN, *ExportOptions.model_fields]) | {"format": "onnx"})
    run = required(given["run"])
    typed = {key: given[key] for key in ExportOptions.model_fields}
    options = options_of(ExportOptions, typed | {"format": listed(given["format"])})
    folder = RunFolder.existing(run, "run")
    if given["to"] is not None:
        refuse_unwritable(Path(given["to"]), "to")
    quiet()
    register_resolvers()
    from vgg_cifar.exporting.exporting import export
    from vgg_cifar.reporting.export_summary import exported

    found = export(folder, options, given["checkpoint"], given["data.root"], listed(given["allow"]), given["to"])
    exported(found, folder.export if given["to"] is None else RunFolder(given["to"]).path)
    return 0


if __name__ == "__main__":
    guard(main, __doc__)
