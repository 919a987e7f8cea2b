"""What is left of training on a CPU while another program keeps one of its cores busy.

    python benchmarks/neighbour.py [rounds=3] [steps=24] [batch_size=128] [json=PATH]

Everything is train.py on generated images, VGG16-BN with a single layer behind its convolutions, a process per round,
at the rate that its `result.json` states: without the first twenty steps. It runs alone, and beside a loop that never
ends: with a thread for each core, as torch has it by default; with threads that sleep while they wait for each other,
in the place of trying again and again; and with a thread less. About ten minutes on two cores.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rounds import SYNTHETIC, Arguments, Side, about, device, keep, rate, take_turns
from vgg_cifar.command_line import guard
from vgg_cifar.errors import UserError
from vgg_cifar.runs.stopwatch import WARMUP_STEPS

FEWER = str(max(1, (os.cpu_count() or 1) - 1))
SETTINGS: dict[str, dict[str, str]] = {
    "as it is": {},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    f"OMP_NUM_THREADS={FEWER}": {"OMP_NUM_THREADS": FEWER},
}
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


@contextmanager
def neighbour() -> Iterator[None]:
    """A process that wants a whole core, for as long as this one lives."""
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def main() -> None:
    given = Arguments(rounds="3", steps="24", batch_size="128", json="")
    rounds, size = given.count("rounds"), given.count("batch_size")
    steps = WARMUP_STEPS + given.count("steps", WARMUP_STEPS + 1)
    if device().type != "cpu":
        raise UserError("neighbour.py: a GPU would train here, and not wait for a core")
    if inherited := [name for name in os.environ if name.startswith(("OMP_", "GOMP_"))]:
        raise UserError(f"neighbour.py: {inherited[0]} is set, which is what is compared; unset it")
    overrides = (
        *SYNTHETIC, "dropout=none", "model.hidden=[]", f"data.batch_size={size}", f"data.train_size={steps * size}",
        "trainer.max_epochs=1",
    )  # fmt: skip

    def alone(environment: dict[str, str]) -> Side:
        return lambda: rate(*overrides, **environment)

    def beside(environment: dict[str, str]) -> Side:
        def measure() -> float:
            with neighbour():
                return rate(*overrides, **environment)

        return measure

    sides = {
        f"{where}, {name}": side(environment)
        for where, side in (("alone", alone), ("beside", beside))
        for name, environment in SETTINGS.items()
    }
    record = about()
    keep(given.file, record, [take_turns(f"batch {size}", "images/s", sides, rounds, ["alone, as it is"])])


if __name__ == "__main__":
    guard(main, __doc__)
