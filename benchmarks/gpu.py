"""Everything that is wanted of a GPU, in ten minutes: all its tables on the screen, all its records in a folder.

    python benchmarks/gpu.py [out=docs/records] [quick=false] [parts=train_step,epoch,input_pipeline,breakdown,...]

The parts run one after the other, each the benchmark of that name with a record of its own, so that what is done stays
when a later part fails. With `quick=true` everything is as small as it gets, to try whether it runs; that, and a
machine without a GPU, which is measured by the same commands, leave no figures worth keeping.
"""

import subprocess
import sys
import time
from pathlib import Path

from rounds import device
from vgg_cifar.command_line import guard, key_values
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import FAILED, UserError

PARTS = {
    "train_step": ["shapes=plain", "rounds=3", "steps=200"],
    "epoch": ["rounds=3"],
    "input_pipeline": ["rounds=3", "images=20000"],
    "breakdown": ["rounds=2"],
    "startup": ["rounds=2"],
}
QUICK = {
    "train_step": ["shapes=plain", "rounds=1", "batch_sizes=2", "steps=21"],
    "epoch": ["rounds=1", "images=500", "width=0.0625"],
    "input_pipeline": ["rounds=1", "images=500", "policies=standard"],
    "breakdown": ["rounds=1", "batch_size=8", "width=0.0625"],
    "startup": ["rounds=1"],
}
"""What to type after each benchmark's name."""


def main() -> int:
    given = key_values(sys.argv[1:], {"out": "docs/records", "quick": "false", "parts": ",".join(PARTS)})
    out = Path(given["out"] or "").absolute()
    chosen = (given["parts"] or "").split(",")
    if not out.is_dir():
        raise UserError(f"out: there is no folder {out}")
    if given["quick"] not in ("true", "false"):
        raise UserError(f"quick: should be true or false, is {given['quick']}")
    if unknown := [part for part in chosen if part not in PARTS]:
        raise UserError(f"parts: there is no {unknown[0]}, only {', '.join(PARTS)}")
    kind = "gpu" if device().type == "cuda" else device().type
    start, failed = time.monotonic(), []
    for part in chosen:
        typed = [f"benchmarks/{part}.py", *(QUICK if given["quick"] == "true" else PARTS)[part]]
        print(f"\n{time.monotonic() - start:.0f} s: {' '.join(typed)}", flush=True)
        command = [sys.executable, *typed, f"json={out / f'{part}_{kind}.json'}"]
        if subprocess.run(command, cwd=PROJECT, check=False).returncode:
            failed.append(part)
    print(f"\n{time.monotonic() - start:.0f} s in all; failed: {', '.join(failed) or 'none'}")
    return FAILED if failed else 0


if __name__ == "__main__":
    guard(main)
