"""See what augmentation does: python src/contact_sheet.py [images=8] [epochs=8] [file=FILE.png] [key=value ...].

Every option of `src/train.py` is taken too: augmentation=trivial, augmentation.cutout=16, data=cifar10, seed=1, ...
"""

import sys
from pathlib import Path

from vgg_cifar.command_line import guard, key_values, quiet, register_resolvers
from vgg_cifar.composition import compose_and_check

OWN = {"images": "8", "epochs": "8", "file": "contact_sheet.png"}


def main() -> int:
    """Draw the sheet and say where it is."""
    own = [argument for argument in sys.argv[1:] if argument.partition("=")[0] in OWN]
    given = key_values(own, dict(OWN))
    quiet()
    register_resolvers()
    config = compose_and_check([argument for argument in sys.argv[1:] if argument not in own]).config
    from vgg_cifar.contact_sheet import count, draw, write

    images, epochs = count(given["images"], "images"), count(given["epochs"], "epochs")
    write(draw(config, images, epochs), Path(given["file"] or OWN["file"]))
    return 0


if __name__ == "__main__":
    guard(main)
