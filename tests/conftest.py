"""What most tests need: a small configuration, a small run, the commands as a user types them."""

import os

# For these tests and what they start, before torch reads it: on small tensors threads lose more time by waiting for
# each other than they gain, and several processes of two threads far more.
os.environ["OMP_NUM_THREADS"] = "1"

# isort: split
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from vgg_cifar import hardware, interruptible
from vgg_cifar.command_line import quiet, register_resolvers
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import Config
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.manifest import git_state, now

PROJECT = Path(__file__).resolve().parents[1]
TINY = [
    "data=synthetic",
    "data.train_size=300",
    "data.test_size=150",
    "data.batch_size=64",
    "data.eval_batch_size=40",
    "model=vgg11_bn",
    "model.width=0.125",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=2",
    "logger=csv",
    "evaluate=false",
]

settings.register_profile("untimed", deadline=None)  # a slow machine is no failure
settings.load_profile("untimed")
quiet()
register_resolvers()
if signal.getsignal(signal.SIGINT) is interruptible.leave:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C ends the tests as it always does


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not inherit a launcher's ranks or a user's data."""
    for name in (
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "SLURM_PROCID",
        "SLURM_JOB_ID",
        "SLURM_NTASKS",
        "TORCHELASTIC_RUN_ID",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tiny() -> list[str]:
    """Overrides that make a run of about a second."""
    return list(TINY)


@pytest.fixture
def configure() -> Callable[..., Config]:
    """Compose and check a tiny configuration with some overrides."""

    def build(*overrides: str) -> Config:
        return compose_and_check([*TINY, *overrides])[1]

    return build


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., RunFolder]:
    """Run a tiny training in this process; `to` names its folder, `code` the exit code it should have."""
    from vgg_cifar.training import run

    def start(*overrides: str, to: str = "run", code: int = 0) -> RunFolder:
        typed = [*TINY, *overrides]
        folder = RunFolder(tmp_path / to)
        assert run(compose_and_check(typed)[1], folder, typed) == code
        return folder

    return start


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Type `python src/<script> ...` in an empty folder."""

    def start(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, PROJECT / "src" / script, *arguments],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )

    return start


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real CIFAR-100; skips where there is none."""
    for root in (os.environ.get("CIFAR100_ROOT"), PROJECT / "data", PROJECT.parent / "shared" / "data"):
        if root is not None and (Path(root) / "cifar-100-python" / "train").is_file():
            return Path(root)
    pytest.skip("the real CIFAR-100 is not here: set CIFAR100_ROOT to the folder that holds cifar-100-python/")


FIGURES = pytest.StashKey[dict[str, float]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Note something that the documentation tells; it is printed at the end, and written to $FIGURES.

    Not where tests run side by side, as those of `make test` do: `make soak` makes the record.

    Numbers of the same name are added up, or `max` is taken of them.
    """
    figures = request.config.stash.setdefault(FIGURES, {})

    def note(name: str, number: float, combine: Callable[..., float] = lambda *numbers: sum(numbers)) -> None:
        figures[name] = combine(figures[name], number) if name in figures else number

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was noted, and keep it where the environment says so."""
    figures = config.stash.get(FIGURES, {})
    for name, number in figures.items():
        terminalreporter.write_line(f"{number:9,g}  {name}")
    if figures and "FIGURES" in os.environ:
        failed = len(terminalreporter.stats.get("failed", [])) + len(terminalreporter.stats.get("error", []))
        record = {
            "command": ["FIGURES=docs/records/reliability_cpu.json", "make", "soak"], "git": git_state(),
            "start": now(), "torch": torch.__version__, "hardware": hardware.description(),
            "passed": len(terminalreporter.stats.get("passed", [])), "failed": failed, "figures": figures,
        }  # fmt: skip
        Path(os.environ["FIGURES"]).write_text(json.dumps(record, indent=1) + "\n")
