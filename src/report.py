"""Compare runs: python src/report.py runs=FOLDER[,FOLDER...] [baseline=...] [metric=test/top1] [to=FOLDER].

Writes report.html and report.csv into `to`, by default the one folder given. `runs` are folders that hold runs at any
depth, or runs. `baseline` is a group's number, or overrides that fit one group: baseline=optimizer=sgd,dropout=none.
Of a search, `metric` is its first objective by default.
"""

import vgg_cifar.interruptible  # noqa: F401

# isort: split
import sys

from vgg_cifar.command_line import folders, guard, key_values, quiet, register_resolvers
from vgg_cifar.errors import UserError


def main() -> int:
    """Compare, print, write."""
    given = key_values(sys.argv[1:], {"runs": None, "baseline": None, "metric": None, "to": None})
    sources = folders(given["runs"])
    if not sources:
        raise UserError("runs: which ones? runs=outputs/sweeps/...")
    quiet()
    register_resolvers()
    from vgg_cifar.reporting.report import report

    report(sources, given["baseline"], given["metric"], given["to"])
    return 0


if __name__ == "__main__":
    guard(main, __doc__)
