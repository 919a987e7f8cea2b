"""Imported by every command before anything else: Ctrl-C while the rest is imported is answered as it is later on."""

import os
import signal

from vgg_cifar.errors import INTERRUPTED, NOTHING_BEGUN


def leave(*_: object) -> None:
    """Say so and end at once: a half-imported library might swallow an exception, or turn it into another."""
    os.write(2, f"{NOTHING_BEGUN}\n".encode())
    os._exit(INTERRUPTED)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as behind a shell's `&`
    signal.signal(signal.SIGINT, leave)
