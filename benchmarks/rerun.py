"""Train what a record claims again, and say whether it comes out.

    python benchmarks/rerun.py record=NAME [seeds=0,1] [to=FOLDER] [data.root=FOLDER]

Of docs/records/NAME.json, with the recorded seeds or others, fewer for a quicker look. Each row is a sweep of its own
in `to`, by default in outputs/reruns/; typed again with it, an interrupted one goes on. Exit code 0: the mean of every
row is within what seeds explain; 1: one is off, or a run failed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from vgg_cifar.command_line import guard, key_values, listed, quiet, register_resolvers
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.options import quoted

RECORDS = PROJECT / "docs" / "records"


def main() -> int:
    given = key_values(sys.argv[1:], {"record": None, "seeds": None, "to": None, "data.root": None})
    seeds = listed(given["seeds"])
    for seed in seeds:
        if not seed.isdecimal():
            raise UserError(f"seeds: should be whole numbers with commas between, like 0,1, is {given['seeds']}")
    quiet()
    register_resolvers()
    from vgg_cifar.results.records import named, read

    record, root = named(read(RECORDS), given["record"]), given["data.root"]
    from vgg_cifar.results.rerun import rerun

    typed = [] if root is None else [f"data.root={quoted(root)}"]
    return rerun(record, list(map(int, seeds)), given["to"], typed)


if __name__ == "__main__":
    guard(main, __doc__)
