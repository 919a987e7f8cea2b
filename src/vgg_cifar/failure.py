"""Why a run ended before its end: a line that says what happened, where, and what helps."""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Callable
from contextlib import suppress

import torch
from torch.distributed import DistError

from vgg_cifar import hardware
from vgg_cifar.config import Config
from vgg_cifar.ddp import Loss
from vgg_cifar.errors import DivergedError, RunError, UserError, first_line
from vgg_cifar.runs.folder import RunFolder, why_not


def explained(error: Exception, config: Config, folder: RunFolder, fit: Callable[[Config], None] | None) -> str | None:
    """What ended a run, in a line; None if that is not understood.

    Args:
        error: that ended it.
        config: the run's.
        folder: the run's.
        fit: trains a new network for a step, to see what fits into memory; None where that cannot be tried.
    """
    if isinstance(error, DivergedError):
        return f"{error}; {_way_back(folder)}"
    if hardware.is_out_of_memory(error):
        traceback.clear_frames(error.__traceback__)  # they hold what the step that failed had made
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return f"out of memory with data.batch_size={config.data.batch_size}; {_what_fits(config, fit)}"
    if isinstance(error, RunError):
        return str(error)
    if isinstance(error, DistError) or "gloo/transport" in str(error):
        what = re.sub(r"^\[\S+\] | This is typically .*", "", first_line(error))
        return f"a connection to another rank failed: {what}"
    if isinstance(error, OSError):
        return f"a file cannot be written: {why_not(error, folder.path)}"
    return None


def of_a_lost_rank(loss: Loss, folder: RunFolder) -> str:
    """How a rank ended, with what it said itself if it could."""
    with suppress(UserError):
        result = folder.read_result()
        if result.get("status") == "failed" and result.get("error"):
            return f"{loss.reason}: {result['error']}"
    return loss.reason


def _way_back(folder: RunFolder) -> str:
    if not folder.has_checkpoint():
        return "there is no checkpoint yet: start again with a lower optimizer.lr"
    return (
        f"the last good checkpoint is {folder.checkpoint('last')}; go on from it with a lower rate: "
        f".venv/bin/python src/train.py resume={folder.path} divergence.retries={_setbacks(folder) + 1}"
    )


def _setbacks(folder: RunFolder) -> int:
    """How often the run has gone back already."""
    with suppress(UserError):
        return len(folder.read_manifest().get("setbacks", []))
    return 0


def _what_fits(config: Config, fit: Callable[[Config], None] | None) -> str:
    """How to take the same steps in less memory, found by trying."""
    if config.sharpness.name != "none" or config.compile == "graphs":  # which do not accumulate
        return "lower data.batch_size, or choose a smaller model"
    parts = 2 * config.trainer.accumulate_grad_batches
    while fit is not None and parts <= int(config.data.batch_size):
        changes = {"accumulate_grad_batches": parts, "max_epochs": 1, "max_steps": 1, "limit_val_batches": 0}
        short = {"trainer": config.trainer.model_copy(update=changes), "monitor_test": False}
        try:
            fit(config.model_copy(update=short))
        except Exception as error:
            if not hardware.is_out_of_memory(error):
                fit = None
            parts *= 2
            continue
        return f"trainer.accumulate_grad_batches={parts} fits, and takes the same steps in smaller parts"
    if fit is None:
        return "raise trainer.accumulate_grad_batches: it takes the same steps in smaller parts"
    return "not even one image at a time fits: choose a smaller model"
