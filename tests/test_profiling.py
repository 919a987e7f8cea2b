"""The trace of a run, and the line that says where the time went."""

import gzip
import json
import logging
import re
from collections.abc import Callable

import pytest

from vgg_cifar.runs.folder import RunFolder

LINE = (
    r"Of ([\d.]+) ms a batch: data wait ([\d.]+)%, step ([\d.]+)%, logging and callbacks ([\d.]+)%; .* of (\d+) batches"
)


def said(caplog: pytest.LogCaptureFixture) -> re.Match[str]:
    (found,) = (match for message in caplog.messages if (match := re.search(LINE, message)))
    return found


@pytest.mark.parametrize(("asked", "recorded"), [(3, 3), (50, 5)], ids=["as many as asked for", "as many as there are"])
def test_a_run_leaves_a_trace_and_says_where_the_time_went(
    asked: int, recorded: int, train: Callable[..., RunFolder], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = train(f"profile={asked}")  # two epochs of five batches; the first five are let pass
    with gzip.open(folder.trace, "rt") as file:
        names = {event["name"] for event in json.load(file)["traceEvents"]}
    assert "aten::conv2d" in names
    match = said(caplog)
    assert int(match[5]) == recorded
    shares = [float(match[place]) for place in (2, 3, 4)]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert all(0 <= share <= 100 for share in shares)


def test_a_run_too_short_to_be_recorded_says_so(
    train: Callable[..., RunFolder], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = train("profile=3", "trainer.max_epochs=1")
    assert not folder.trace.exists()
    assert caplog.messages.count("profile: only 5 batches ran, none were recorded") == 1
