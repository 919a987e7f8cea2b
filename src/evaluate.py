"""Test a run again: python src/evaluate.py run=FOLDER [checkpoint=best|last] [data.root=FOLDER] [allow=PACKAGE,...]."""

import vgg_cifar.interruptible  # noqa: F401

# isort: split
import sys

from vgg_cifar.command_line import guard, key_values, listed, quiet, register_resolvers
from vgg_cifar.errors import UserError


def main() -> int:
    """Evaluate, and compare with what the run itself found."""
    given = key_values(sys.argv[1:], {"run": None, "checkpoint": None, "data.root": None, "allow": None})
    if given["run"] is None:
        raise UserError("run: which one? run=outputs/train/...")
    if given["checkpoint"] not in (None, "best", "last"):
        raise UserError(f"checkpoint: should be best or last, is {given['checkpoint']}")
    quiet()
    register_resolvers()
    from vgg_cifar.evaluation import evaluate
    from vgg_cifar.reporting.terminal import comparison
    from vgg_cifar.runs.folder import RunFolder

    folder = RunFolder.existing(given["run"], "run")
    found = evaluate(folder, given["checkpoint"], given["data.root"], listed(given["allow"]))
    comparison(found, folder.read_result())
    return 0


if __name__ == "__main__":
    guard(main, __doc__)
