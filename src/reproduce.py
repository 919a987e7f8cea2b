"""Train a run again from its folder, and compare.

python src/reproduce.py run=FOLDER [to=FOLDER] [data.root=FOLDER] [allow=PACKAGE,...] [hydra.searchpath=[FOLDER,...]]

Without `to` the new run lies in `outputs/reproductions/`. In a `to` that holds a run, an interrupted one goes on, and a
finished one is only compared. Exit code 0: identical or within seed noise; 1: off, or the new run failed.
"""

import vgg_cifar.interruptible  # noqa: F401

# isort: split
import sys

from vgg_cifar.command_line import guard, key_values, quiet, register_resolvers
from vgg_cifar.options import quoted
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.placement import required

KNOWN: dict[str, str | None] = {"run": None, "to": None, "data.root": None, "allow": None, "hydra.searchpath": None}


def main() -> int:
    """Say what differs, train, say what came out."""
    given = key_values(sys.argv[1:], KNOWN)
    run = RunFolder.existing(required(given["run"]), "run")
    quiet()
    register_resolvers()
    typed = []
    if given["data.root"] is not None:
        typed.append(f"data.root={quoted(given['data.root'])}")
    if given["allow"] is not None:
        typed.append(f"allow=[{given['allow'].strip('[]')}]")
    if given["hydra.searchpath"] is not None:
        typed.append(f"hydra.searchpath={given['hydra.searchpath']}")
    from vgg_cifar.reproduction import reproduce

    return reproduce(run, given["to"], typed)


if __name__ == "__main__":
    guard(main, __doc__)
