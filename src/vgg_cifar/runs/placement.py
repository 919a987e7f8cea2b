"""Where a run's folder is: the same for all its ranks, and found again when a run goes on."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.options import flat, is_within, spelled
from vgg_cifar.runs.folder import RunFolder

OUTPUTS = PROJECT / "outputs"

MAY_CHANGE = (
    "resume", "sweep", "tags", "compile", "evaluate", "monitor_test", "profile", "name", "logger", "early_stopping",
    "checkpoint", "divergence", "data.root", "data.download", "data.memory", "trainer.max_epochs",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.limit_val_batches",
    "trainer.limit_test_batches", "trainer.log_every_n_steps", "trainer.enable_progress_bar",
)  # fmt: skip
"""Options that may differ when a run goes on; every other one would make it a different run."""


def rank() -> int:
    """This process's rank, from what torchrun, SLURM or Lightning put in the environment; 0 if alone."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def run_id() -> str:
    """A name for a new run's folder: date, time and four digits; under a launcher of ranks, the launcher's own id.

    Raises:
        UserError: under torchrun over several machines without an id to share.
    """
    return launch() or f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"


def launch() -> str | None:
    """What a launcher of ranks calls this launch, the same for all its ranks however often it starts them; or None.

    Raises:
        UserError: under torchrun over several machines without an id to share.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        given = os.environ["TORCHELASTIC_RUN_ID"]
        if given not in ("none", "default", ""):
            return f"torchrun_{given}"
        if os.environ.get("GROUP_WORLD_SIZE", "1") != "1":
            raise UserError("torchrun: give all machines the same --rdzv-id, it names the run's folder")
        return f"torchrun_{os.getppid()}_{_started(os.getppid())}"
    by_hand = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # within an allocation, without srun
    if "SLURM_JOB_ID" in os.environ and not by_hand and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        step = os.environ.get("SLURM_STEP_ID", "0")
        return f"slurm_{os.environ['SLURM_JOB_ID']}" + (f"_{step}" if step not in ("0", "") else "")
    return None


def begun_by_this_launch(path: Path) -> RunFolder | None:
    """The run in a folder, if it is this launch's own: its ranks were started before, or another of them is quicker."""
    folder, ours = RunFolder(path), launch()
    if ours is None or not folder.config.is_file():
        return None
    manifest = RunFolder.existing(path, "hydra.run.dir").read_manifest()
    resumed = manifest.get("resumed")
    processes = [manifest, *(resumed if isinstance(resumed, list) else [])]
    return folder if any(isinstance(each, dict) and each.get("launch") == ours for each in processes) else None


def required(run: str | None) -> str:
    """The run that a command was told.

    Args:
        run: as typed; None or empty if nothing was.

    Raises:
        UserError: if nothing was; it says which one in `outputs/` was the last to begin or end.
    """
    if run:
        return run
    begun = {}
    for manifest in OUTPUTS.glob("**/manifest.json"):
        with suppress(OSError):
            begun[manifest.stat().st_mtime] = manifest.parent
    if not begun:
        raise UserError(f"run: which one? There is none in {OUTPUTS} yet; src/train.py makes one")
    raise UserError(f"run: which one? The latest is run={os.path.relpath(begun[max(begun)])}")


def refuse_other_ranks(devices: int | str, num_nodes: int) -> None:
    """Refuse options that ask for other ranks than a launcher has started.

    Args:
        devices: of `trainer`; "auto" may be any number.
        num_nodes: of `trainer`.

    Raises:
        UserError: if they do not fit together.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        world, machines = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("GROUP_WORLD_SIZE", "1"))
        if num_nodes != machines or (devices != "auto" and int(devices) * num_nodes != world):
            key, s = "num_nodes" if num_nodes != machines else "devices", "" if machines == 1 else "s"
            raise UserError(
                f"trainer.{key}: torchrun started {world} processes on {machines} machine{s}; "
                f"set trainer.num_nodes={machines} trainer.devices={world // machines}"
            )
    elif num_nodes > 1 and not {"RANK", "SLURM_PROCID"} & os.environ.keys():
        raise UserError(
            f"trainer.num_nodes: {num_nodes} machines take a launcher that starts a process for each device: "
            "torchrun or srun, see docs/scaling.md"
        )


def _started(pid: int) -> str:
    """A number that tells two processes with the same pid apart: when it started, in clock ticks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "0"


def resumable(
    parent: Path, config: dict[str, Any], complete: Callable[[dict[str, Any]], dict[str, Any]]
) -> RunFolder | None:
    """The newest run beside which a new one would lie that has this configuration and a checkpoint, or None.

    Args:
        parent: the folder of such runs.
        config: the options of the new one.
        complete: adds to a stored configuration the options that came after it.
    """
    folders = [RunFolder(path) for path in parent.glob("*") if RunFolder(path).has_checkpoint()]
    folders.sort(key=RunFolder.saved_at, reverse=True)
    for folder in folders:
        try:
            same = not differences(complete(folder.read_config()), config, folder.read_manifest().get("tuned", ()))
        except (UserError, RecursionError):
            continue  # a damaged neighbour is nobody's to go on with
        if same and (rank() != 0 or not folder.in_use()):  # another rank may find rank 0 in it already
            return folder
    return None


def differences(old: dict[str, Any], new: dict[str, Any], found: Collection[str] = ()) -> list[str]:
    """What keeps a run with the options `new` from going on as one with `old`: `key: old -> new`, choices first.

    Args:
        old: the options of a run.
        new: those it should go on with.
        found: options that were `auto` in the old run before it found a number.
    """
    before, after = flat(old), flat(new)
    return [
        f"{key}: {spelled(before.get(key))} -> {spelled(after.get(key))}"
        for key in sorted(before.keys() | after.keys(), key=lambda key: (not key.endswith(".name"), key))
        if before.get(key) != after.get(key)
        and not (key in found and after.get(key) == "auto")
        and not is_within(key, MAY_CHANGE)
    ]
