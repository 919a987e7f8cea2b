"""Ask a trained network what is in pictures: python src/predict.py run=FOLDER images=FILE|FOLDER|'PATTERN' ...

run=FOLDER                  the run
images=cat.jpg              a file; several between commas
images=FOLDER               the images in a folder; FOLDER/** those at any depth
images='FOLDER/**/*.png'    what a pattern matches
images=-                    standard input: an image, or names of files, one a line
checkpoint=best|last|FILE   by default the one that the run itself tested
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

from vgg_cifar.command_line import guard, key_values
from vgg_cifar.errors import UserError
from vgg_cifar.options import did_you_mean

KEYS: dict[str, str | None] = {
    "run": None, "images": None, "checkpoint": None, "top": "5", "format": None, "to": None, "allow": None,
}  # fmt: skip
FORMATS = ("table", "json", "csv")


def main() -> int:
    """Answer for every image."""
    given = key_values(sys.argv[1:], KEYS)
    if sum(each.startswith("images=") for each in sys.argv[1:]) > 1:  # as a shell makes of images={a,b}.png
        raise UserError("images: was given more than once; put commas between: images=a.png,b.png")
    if given["run"] is None:
        raise UserError("run: which one? run=outputs/train/...")
    top, to = _count("top", given["top"]), _target(given["to"])
    form = given["format"] or (to.suffix[1:].lower() if to and to.suffix[1:].lower() in FORMATS else "table")
    if form not in FORMATS:
        raise UserError(f"format: should be table, json or csv, is {form}{did_you_mean(form, FORMATS)}")
    from vgg_cifar.prediction.files import find
    from vgg_cifar.runs.folder import RunFolder

    RunFolder.existing(given["run"], "run")
    sources = find(given["images"] or "", sys.stdin.buffer)
    if to and any(Path(each.name).absolute() == to for each in sources):
        raise UserError(f"to: {to} is one of the images")
    from vgg_cifar import load

    predictor = load(given["run"], given["checkpoint"], allow=_packages(given["allow"] or ""))
    from vgg_cifar.prediction.answering import answer

    return answer(predictor, sources, form, top, to)


def _count(key: str, typed: str | None) -> int:
    if typed is None or not typed.isdecimal() or not 1 <= len(typed) <= 9 or not int(typed):
        raise UserError(f"{key}: should be a whole number from 1 on, is {typed}")
    return int(typed)


def _target(typed: str | None) -> Path | None:
    file = None if typed is None else Path(os.path.expanduser(typed)).absolute()  # noqa: PTH111  # Path refuses a ~ of nobody
    if file and (not file.parent.is_dir() or file.is_dir()):
        raise UserError(f"to: {file} cannot be written; name a file in a folder that exists")
    return file


def _packages(typed: str) -> list[str]:
    return [each.strip() for each in typed.strip("[]").split(",") if each.strip()]


if __name__ == "__main__":
    guard(main, __doc__)
