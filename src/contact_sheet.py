"""See what augmentation does: python src/contact_sheet.py [images=8] [epochs=8] [file=outputs/contact_sheet.png] ...

A row is a training image: as it is, then as epoch 0, 1, 2, ... sees it; images and epochs are 1 to 100. Every option of
`src/train.py` is taken too: augmentation=trivial, augmentation.cutout=16, data=cifar10, seed=1, ... An image is mixed
with the one above, the first with the last. Resizing is not shown.
"""

import vgg_cifar.interruptible  # noqa: F401

# isort: split
import sys
from pathlib import Path

from vgg_cifar.command_line import guard, key_values, quiet, register_resolvers
from vgg_cifar.composition import compose_and_check
from vgg_cifar.errors import UserError
from vgg_cifar.runs.placement import OUTPUTS

OWN: dict[str, str | None] = {"images": "8", "epochs": "8", "file": str(OUTPUTS / "contact_sheet.png")}
MOST = 100


def main() -> int:
    """Draw the sheet and say where it is."""
    own = [argument for argument in sys.argv[1:] if argument.partition("=")[0] in OWN]
    given = key_values(own, OWN)
    images, epochs = _count("images", given["images"]), _count("epochs", given["epochs"])
    file = Path(str(given["file"])).expanduser().absolute()
    if not file.parent.is_dir() or file.is_dir():
        raise UserError(f"file: {file} cannot be written; name a .png in a folder that exists")
    quiet()
    register_resolvers()
    config = compose_and_check([argument for argument in sys.argv[1:] if argument not in own]).config
    from vgg_cifar.contact_sheet import draw, write

    write(draw(config, images, epochs), file)
    return 0


def _count(key: str, typed: str | None) -> int:
    if typed is None or not typed.isdecimal() or not 1 <= int(typed) <= MOST:
        raise UserError(f"{key}: should be a whole number from 1 to {MOST}, is {typed}")
    return int(typed)


if __name__ == "__main__":
    guard(main, __doc__)
