"""Everything that is wanted of a GPU, meant for ten minutes: all its tables on the screen, all its records in a folder.

    python benchmarks/gpu.py [out=docs/records] [quick=false] [parts=train_step,epoch,input_pipeline,breakdown]

The parts run one after the other, each the benchmark of that name with a record of its own, `PART_gpu.json`, so that
what is done stays when a later part fails. A machine without a GPU is measured by the same commands, into
`PART_cpu.json`.
With `quick=true` everything is as small as it gets: it shows whether all runs, its figures mean nothing.
"""

import subprocess
import sys
import time
from pathlib import Path

from rounds import Arguments, device
from vgg_cifar.command_line import guard
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import DONE, FAILED, UserError

PARTS = {
    "train_step": ["shapes=plain", "rounds=3", "steps=200"],
    "epoch": ["rounds=2"],
    "input_pipeline": ["rounds=3", "images=10000"],
    "breakdown": ["rounds=2"],
}
QUICK = {
    "train_step": ["shapes=plain", "rounds=1", "batch_sizes=2", "steps=21"],
    "epoch": ["rounds=1", "images=500", "width=0.0625"],
    "input_pipeline": ["rounds=1", "images=500", "policies=standard"],
    "breakdown": ["rounds=1", "batch_size=8", "width=0.0625"],
}
"""What to type after each benchmark's name."""


def main() -> int:
    given = Arguments(out=str(PROJECT / "docs" / "records"), quick="false", parts=",".join(PARTS))
    chosen, quick = given.chosen("parts", PARTS), given.chosen("quick", ["true", "false"]) == ["true"]
    out = Path(given.given["out"]).absolute()
    if not out.is_dir():
        raise UserError(f"out: there is no folder {out}")
    kind = {"cuda": "gpu"}.get(device().type, device().type)
    start, failed = time.monotonic(), []
    for part in chosen:
        typed = [f"benchmarks/{part}.py", *(QUICK if quick else PARTS)[part]]
        print(f"\n{time.monotonic() - start:.0f} s: {' '.join(typed)}", flush=True)
        command = [sys.executable, *typed, f"json={out / f'{part}_{kind}.json'}"]
        if subprocess.run(command, cwd=PROJECT, check=False).returncode:
            failed.append(part)
    print(f"\n{time.monotonic() - start:.0f} s in all; failed: {', '.join(failed) or 'none'}")
    return FAILED if failed else DONE


if __name__ == "__main__":
    guard(main, __doc__)
