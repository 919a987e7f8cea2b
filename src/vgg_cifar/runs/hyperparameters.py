"""TensorBoard's HPARAMS page over any number of runs: a row per run, with its options, last metrics and how it ended.

No run says what the columns are: TensorBoard would take the first run's word for all. Left to itself it makes a column
of every option and every scalar that any run has, and shows those first in which the runs differ.

It also keeps the first of what a run says twice, whatever comes later. So this stands in files of its own, which the
next process of the run empties.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from vgg_cifar.options import flat, spelled
from vgg_cifar.runs.folder import RunFolder

SUFFIX = ".hparams"
FIRST = f"events.out.tfevents.0{SUFFIX}"
"""A name before those of all other event files: TensorBoard reads them in that order, and none twice."""


def begin(folder: RunFolder, config: dict[str, Any]) -> None:
    """Say what a run's options are, before any other event of this process is written.

    Args:
        folder: the run's.
        config: its options, as plain dicts.
    """
    folder.tensorboard.mkdir(parents=True, exist_ok=True)
    for earlier in folder.tensorboard.glob(f"*{SUFFIX}"):
        if not earlier.is_symlink():
            os.truncate(earlier, 0)  # a TensorBoard that has come to this file would wait for it, were it gone
    (folder.tensorboard / FIRST).unlink(missing_ok=True)
    started = SessionStartInfo(start_time_secs=time.time())
    for name, value in columns(config).items():
        if isinstance(value, bool):
            started.hparams[name].bool_value = value
        elif isinstance(value, str):
            started.hparams[name].string_value = value
        else:
            started.hparams[name].number_value = value
    _write(folder.tensorboard / FIRST, metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=started))


def end(folder: RunFolder, *, well: bool) -> None:
    """Say how a run ended, after the last event of this process; of one that may go on nothing is said."""
    last = max(path.name for path in folder.tensorboard.glob("events.*"))
    status = Status.STATUS_SUCCESS if well else Status.STATUS_FAILURE
    ended = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=time.time()))
    _write(folder.tensorboard / f"{last}{SUFFIX}", metadata.SESSION_END_INFO_TAG, ended)


def columns(config: dict[str, Any]) -> dict[str, bool | float | str]:
    """Every option by the name under which it is typed, truths and numbers as such; what is null has no value.

    A sweep may be over any of them, and a run in which one is as by default belongs into the same column.
    """
    options = flat(config)
    options.pop("resume", None)  # a run that goes on is no other run
    found: dict[str, bool | float | str] = {}
    for key, value in options.items():
        if isinstance(value, bool) or (isinstance(value, int | float) and abs(value) <= sys.float_info.max):
            found[key.removesuffix(".name")] = value
        elif value is not None:
            text = " ".join(map(spelled, value)) if isinstance(value, list) else spelled(value)
            if text:
                found[key.removesuffix(".name")] = text
    return found


def _write(path: Path, tag: str, said: HParamsPluginData) -> None:
    summary = Summary(
        value=[Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(said), tensor=metadata.NULL_TENSOR)]
    )
    with path.open("xb") as file:
        writer = RecordWriter(file)
        for event in (Event(file_version="brain.Event:2"), Event(summary=summary)):
            event.wall_time = time.time()
            writer.write(event.SerializeToString())
