"""Every image that was asked about is answered, or named with the reason why not."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from vgg_cifar.errors import DONE, FAILED, INTERRUPTED, printable
from vgg_cifar.prediction import images
from vgg_cifar.prediction.files import Source
from vgg_cifar.prediction.output import Csv, Json, Output, Table
from vgg_cifar.prediction.predictor import Predictor
from vgg_cifar.runs.folder import write

BATCH = 64
PATIENCE = 2.0
"""Seconds without a bar."""
REFRESH_SECONDS = 0.2


def answer(predictor: Predictor, sources: Sequence[Source], form: str, top: int, to: Path | None = None) -> int:
    """Say what each image is taken for, on standard output or in a file, a batch at a time; faults on standard error.

    Args:
        predictor: the network.
        sources: the images, at least one.
        form: "table", "json" or "csv".
        top: classes per image.
        to: a file instead of standard output: all of it or, if this is interrupted, none.

    Returns:
        The exit code: 0, or 1 if an image could not be read, or 75 if it was interrupted.
    """
    written = io.StringIO()
    target: TextIO = sys.stdout if to is None else written
    output = _output(predictor, sources, form, top, Console(file=target))
    if to is None and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal's alphabet lacks
    answered = 0
    try:
        with _Bar(len(sources)) as bar:
            bar.say(output.begin(), target)
            for first in range(0, len(sources), BATCH):
                batch = _read(sources[first : first + BATCH], bar)
                if batch:
                    found = predictor.predict(list(batch.values()))
                    names = [sources[place + first].name for place in batch]
                    bar.say(output.add(list(zip(names, found, strict=True))), target)
                    answered += len(batch)
            bar.say(output.end(), target)
    except BrokenPipeError:  # whoever read has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print(f"interrupted: {answered} of {len(sources)} images answered", file=sys.stderr)
        return INTERRUPTED
    if to is not None:
        write(to, written.getvalue())
        print(printable(f"{to}: {answered} of {len(sources)} images"))
    return DONE if answered == len(sources) else FAILED


def _output(predictor: Predictor, sources: Sequence[Source], form: str, top: int, console: Console) -> Output:
    if form == "table":
        return Table(top, [each.name for each in sources], predictor.classes, console)
    return (Json if form == "json" else Csv)(top, predictor.superclass)


def _read(sources: Sequence[Source], bar: _Bar) -> dict[int, Tensor]:
    """The images that can be read, by their place; of the others the reason is told."""
    found = {}
    for place, source in enumerate(sources):
        try:
            content = source.content
            found[place] = images.read(source.name) if content is None else images.decode(io.BytesIO(content))
        except images.UnreadableError as error:
            bar.say(printable(f"{source.name}: {error}") + "\n", sys.stderr)
        bar.advance()
    return found


class _Bar:
    """A bar on standard error with the time left, where that is a terminal and it takes more than `PATIENCE`."""

    def __init__(self, total: int) -> None:
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("reading and answering"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self.console,
            auto_refresh=False,
            expand=True,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.task = self.progress.add_task("", total=total)
        self._drawn = time.monotonic() + PATIENCE
        self._shown = False

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._hide()

    def advance(self) -> None:
        """One more image."""
        self.progress.advance(self.task)
        now = time.monotonic()
        if self.console.is_terminal and now - self._drawn > REFRESH_SECONDS:
            self._drawn, self._shown = now, True
            self.progress.start()
            self.progress.refresh()

    def say(self, text: str, to: TextIO) -> None:
        """Write at once, where the bar was if that is the same terminal."""
        self._hide()
        to.write(text)
        to.flush()

    def _hide(self) -> None:
        if self._shown:
            self.progress.stop()
        self._shown = False
