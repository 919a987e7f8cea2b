"""Where the time of training goes: one line, and a trace of every operator."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from lightning.pytorch.profilers import Profiler
from torch.profiler import profile

from vgg_cifar.hardware import synchronise

log = logging.getLogger(__name__)
WARMUP_BATCHES = 5
DATA, STEP = "train_dataloader_next", "run_training_batch"


class TrainingProfiler(Profiler):
    """Times what Lightning calls getting a batch and running it; the rest of the loop is logging and callbacks.

    The device is waited for at each border, so that a part has the time it takes, not the time to ask for it.

    Args:
        trace: where the trace goes, in Chrome's format (`.json.gz`).
        batches: how many batches to record, after five that are let pass.
    """

    def __init__(self, trace: Path, batches: int) -> None:
        super().__init__()
        self.trace = trace
        self.batches = batches
        self.seconds = {DATA: 0.0, STEP: 0.0}
        self._passed = 0
        self._began = 0.0
        self._since = 0.0
        self._ended = 0.0
        self._recorder: profile | None = None

    def start(self, action_name: str) -> None:
        """Begin to record with the first batch after the warm-up."""
        if _part(action_name) is None:
            return
        if self._recorder is None and self._passed == WARMUP_BATCHES and action_name.endswith(DATA):
            self._recorder = profile()
            self._recorder.start()
            self._began = self._now()
        if self._recorder is not None:
            self._since = self._now()

    def stop(self, action_name: str) -> None:
        """Add up; after the last batch write the trace and say where the time went."""
        part = _part(action_name)
        if part == STEP:
            self._passed += 1
        if part is None or self._recorder is None:
            return
        self._ended = self._now()
        self.seconds[part] += self._ended - self._since
        if self._passed == WARMUP_BATCHES + self.batches:
            self.close()

    def close(self) -> None:
        """Write what was recorded, if anything was; a recorder left open would crash the process as it ends."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        recorder.stop()
        self.trace.parent.mkdir(parents=True, exist_ok=True)
        recorder.export_chrome_trace(str(self.trace))
        total, batches = self._ended - self._began, self._passed - WARMUP_BATCHES
        if batches <= 0:
            return
        data, step = self.seconds[DATA] / total, self.seconds[STEP] / total
        log.info(
            "Of %.1f ms a batch: data wait %.1f%%, step %.1f%%, logging and callbacks %.1f%%; "
            "the operators of %d batches (for ui.perfetto.dev or chrome://tracing): %s",
            1000 * total / batches, 100 * data, 100 * step, 100 * (1 - data - step), batches, self.trace,
        )  # fmt: skip

    def describe(self) -> None:
        """Write what was recorded by the end of training, and say so if that is nothing."""
        self.close()
        if 0 < self._passed <= WARMUP_BATCHES:
            log.info("profile: only %d batches ran, none were recorded", self._passed)
            self._passed = 0

    def _now(self) -> float:
        synchronise(self._lightning_module.device)  # type: ignore[attr-defined]
        return time.perf_counter()


def _part(action_name: str) -> str | None:
    return next((part for part in (DATA, STEP) if action_name.endswith(part)), None)
