"""Ask a trained network what is in pictures: python src/predict.py run=FOLDER images=FILE|FOLDER|'PATTERN' ...

run=FOLDER                  the run
images=cat.jpg              a file; several between commas
images=FOLDER               the images in a folder; FOLDER/** those at any depth
images='FOLDER/**/*.png'    what a pattern matches
images=-                    standard input: an image, or names of files, one a line
checkpoint=best|last|...    or epoch_N or a file; by default the one that the run itself tested
top=5                       classes per image
format=table|json|csv       by default a table, or what the name of the file in `to` ends in
to=FILE                     instead of standard output
allow=PACKAGE,...           packages whose classes the run's configuration may name

Exit code 0: every image was answered. 1: some could not be read; they are named on standard error. 2: a mistake.
"""

import vgg_cifar.interruptible  # noqa: F401

# isort: split
import os
import sys
from pathlib import Path

from vgg_cifar.command_line import guard, key_values, listed
from vgg_cifar.errors import UserError
from vgg_cifar.options import options_of
from vgg_cifar.prediction.options import PredictionOptions
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.placement import required

OWN = ("run", "images", "checkpoint", "to", "allow")


def main() -> int:
    """Answer for every image."""
    given = key_values(sys.argv[1:], dict.fromkeys([*OWN, *PredictionOptions.model_fields]))
    run = required(given["run"])
    options = options_of(PredictionOptions, {key: given[key] for key in PredictionOptions.model_fields})
    to = _target(given["to"])
    from vgg_cifar.prediction.files import find

    RunFolder.existing(run, "run")
    sources = find(given["images"] or "", sys.stdin.buffer)
    if to and any(Path(each.name).absolute() == to for each in sources):
        raise UserError(f"to: {to} is one of the images")
    from vgg_cifar import load

    predictor = load(run, given["checkpoint"], allow=listed(given["allow"]))
    from vgg_cifar.prediction.answering import answer

    return answer(predictor, sources, options.named(to.suffix if to else ""), options.top, to)


def _target(typed: str | None) -> Path | None:
    file = None if typed is None else Path(os.path.expanduser(typed)).absolute()  # noqa: PTH111  # Path refuses a ~ of nobody
    if file and (not file.parent.is_dir() or file.is_dir()):
        raise UserError(f"to: {file} cannot be written; name a file in a folder that exists")
    return file


if __name__ == "__main__":
    guard(main, __doc__)
