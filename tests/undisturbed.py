"""How a run that was disturbed is compared with one that was not, and a line to the process that forks such runs."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder

TIMES = {"images_per_second", "Stopwatch"}
"""What differs between any two runs; so does what is in seconds."""


class Zygote:
    """See `zygote.py`."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("zygote.py")
        self.process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def train(self, *typed: str, log: Path, at: int | None = None, number: int = signal.SIGKILL) -> tuple[int, int]:
        """Run and return the exit code, negative for a signal, and the number of Python calls, 0 if it died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        job = {"typed": typed, "log": str(log), "at": at, "number": int(number)}
        print(json.dumps(job), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        return answer["code"], answer["calls"]

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def account(folder: RunFolder) -> dict[str, Any]:
    """All that a finished run says of itself, by its place; but for times, and how often the test set was read."""
    result = {key: value for key, value in folder.read_result().items() if not _is_time(key)}
    del result["test_reads"]
    found: dict[str, Any] = {f"result/{key}": value for key, value in result.items()}
    for row in folder.read_metrics():
        found |= {f"metrics/{int(row['step'])}/{key}": value for key, value in row.items() if not _is_time(key)}
    events = EventAccumulator(str(folder.tensorboard))
    events.Reload()
    for tag in events.Tags()["scalars"]:
        points = events.Scalars(tag)
        found[f"tensorboard/{tag}/steps"] = [point.step for point in points]
        if not _is_time(tag):
            found[f"tensorboard/{tag}"] = [point.value for point in points]
    for path in sorted(folder.checkpoints.glob("*.ckpt")):
        found |= _leaves(checkpoints.read(path), path.stem)
    return found


def _is_time(key: str) -> bool:
    return key in TIMES or key.endswith("_seconds")


def _leaves(value: Any, place: str) -> dict[str, Any]:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not _is_time(str(key))}
        return {k: v for key, item in kept.items() for k, v in _leaves(item, f"{place}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for i, item in enumerate(value) for k, v in _leaves(item, f"{place}/{i}").items()}
    if isinstance(value, torch.Tensor):
        return {place: (value.dtype, tuple(value.shape), value.contiguous().numpy().tobytes())}
    return {place: value}
