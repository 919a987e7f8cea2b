"""Imported by every command before anything else: Ctrl-C while the rest is imported is answered as it is later on."""

import os
import signal

from vgg_cifar.errors import ENDING, INTERRUPTED, NOTHING_BEGUN


def leave(*_: object) -> None:
    """Say so and end at once: a half-imported library might swallow an exception, or turn it into another."""
    os.write(2, f"{NOTHING_BEGUN}\n".encode())
    os._exit(INTERRUPTED)


for number in ENDING:
    if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):  # not ignored, as behind a shell's `&`
        signal.signal(number, leave)
