"""What a person sees of a sweep while it runs: a table that stays in place in a terminal, lines anywhere else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vgg_cifar.errors import UserError, printable
from vgg_cifar.reporting.formatting import duration
from vgg_cifar.sweeps.job import Job
from vgg_cifar.sweeps.pool import Running
from vgg_cifar.sweeps.process import Ended
from vgg_cifar.sweeps.source import Source

REFRESH_SECONDS = 1.0
STATES = ("finished", "pruned", "running", "elsewhere", "failed", "interrupted", "queued")
SETTLED = ("finished", "pruned")
"""Nothing is left to do."""
COLOURS = {"finished": "green", "running": "bold", "failed": "bold red", "interrupted": "yellow"}
FEWEST_ROWS = 5
LARGEST = 1e9
T = TypeVar("T")


@dataclass
class _Row:
    label: str
    state: str = "queued"
    begun: bool = False
    epochs: float = 0
    of: int = 0
    top1: float | None = None
    seconds: float = 0.0


class Board:
    """Keeps account of the jobs' states and shows it.

    Args:
        title: what the sweep is called.
        console: where to draw.
        source: of the jobs.
    """

    def __init__(self, title: str, console: Console, source: Source) -> None:
        self.title = title
        self.console = console
        self.rows: dict[int, _Row] = {}
        self._source = source
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._drawn = 0.0
        self._took: list[float] = []
        self._at_a_time = 1

    def __enter__(self) -> Board:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last account on the screen."""
        if self._live is not None:
            with self._while_somebody_looks():
                self._live.stop()
        unfinished = any(row.state not in SETTLED for row in self.rows.values()) or self._source.to_come()
        how = "; the same command goes on" if unfinished else ""
        self._say((self.title, "bold"), f": {self._counts()}{how}")

    def begin(self) -> None:
        """Say what there is to do."""
        before = sum(row.state == "finished" for row in self.rows.values())
        begun = sum(row.begun for row in self.rows.values())
        parts = [f"{before} finished before" if before else "", f"{begun} to go on with" if begun else ""]
        said = "; ".join(part for part in parts if part)
        note = f"; {self._source.note()}" if self._source.note() else ""
        self._say((self.title, "bold"), f": {self._in_all()} jobs" + (f" ({said})" if said else "") + note)

    def add(self, job: Job, *, begun: bool) -> None:
        """One more job, which was begun before or not."""
        self.rows[job.number] = _Row(self._source.label(job), begun=begun, of=job.config.trainer.max_epochs)

    def finished_before(self, job: Job) -> None:
        """Nothing is to be done."""
        row = self.rows[job.number]
        row.state = "finished"
        with suppress(UserError):
            row.seconds = _number(job.folder.read_result().get("total_seconds"), 0.0)
            self._took.append(row.seconds)
        self._look_at(job)

    def started(self, job: Job) -> None:
        """It runs."""
        row = self.rows[job.number]
        row.state = "running"
        if self._live is None:
            self._say(f"job {job.number} {'goes on' if row.begun else 'starts'}: {row.label}")

    def runs_elsewhere(self, job: Job) -> None:
        """Another process runs it."""
        self.rows[job.number].state = "elsewhere"
        self._say(f"job {job.number} is run by another process: {self.rows[job.number].label}")

    def ended(self, job: Job, ended: Ended) -> None:
        """It does not run any more; of a failure, say at once why."""
        row = self.rows[job.number]
        row.state, row.seconds = ended.status, ended.seconds
        self._look_at(job)
        if ended.status == "finished":
            self._took.append(ended.seconds)
            if self._live is None:
                top1 = "" if row.top1 is None else f", val top1 {100 * row.top1:.1f}%"
                self._say(f"job {job.number} finished in {duration(ended.seconds)}{top1}; {self._counts()}")
            return
        what = "was interrupted" if ended.status == "interrupted" else ended.status
        style = COLOURS.get(ended.status, "")
        self._say((f"job {job.number} {what}", style), f" after {duration(ended.seconds)}: {ended.reason}")
        if ended.status == "failed":
            lines = [line for line in ended.last_lines if line != f"error: {ended.reason}"]
            for line in [row.label, *lines, str(job.output)]:
                self._say((f"  | {line}", "dim"))

    def stops(self, reason: str, running: list[Running]) -> None:
        """Say that no more jobs are started, and what is waited for."""
        waiting = f"; {len(running)} running save their step first (once more: end them at once)" if running else ""
        self._say(f"{reason}: stopping{waiting}")

    def draw(self, running: list[Running]) -> None:
        """Bring the table up to date, once a second at most."""
        now = time.monotonic()
        if now - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = now
        self._at_a_time = max(1, len(running))
        for each in running:
            self.rows[each.job.number].seconds = now - each.attempt.started
            self._look_at(each.job)
        if self._live is not None:
            with self._while_somebody_looks():
                self._live.update(self._table(), refresh=True)

    def _look_at(self, job: Job) -> None:
        row = self.rows[job.number]
        with suppress(UserError):
            result = job.folder.read_result()
            row.epochs = _number(result.get("epochs"), row.epochs)
            row.top1 = _number(result.get("val/top1"), row.top1)

    def _table(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("job", "", "epoch", "val top1", "time"):
            table.add_column(heading, justify="left" if heading in ("", "job") else "right", no_wrap=True)
        table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
        shown = self._shown()
        for number, row in shown.items():
            table.add_row(
                str(number),
                Text(row.state, COLOURS.get(row.state, "dim")),
                f"{row.epochs:g}/{row.of}" if row.epochs or row.state == "running" else "",
                "" if row.top1 is None else f"{100 * row.top1:.1f}%",
                duration(row.seconds) if row.seconds else "",
                Text(printable(row.label)),
            )
        hidden = len(self.rows) - len(shown)
        more = [Text(f"and {hidden} more", "dim")] if hidden else []
        return Group(table, *more, Text.assemble((printable(self.title), "bold"), f": {self._counts()}"))

    def _shown(self) -> dict[int, _Row]:
        """As many rows as the terminal has room for: those that run first, then what comes next and what ended last."""
        room = max(FEWEST_ROWS, self.console.size.height - 4)
        if len(self.rows) <= room:
            return self.rows
        states = ("running", "failed", "interrupted", "elsewhere", "queued")
        of_state = [number for state in states for number, row in self.rows.items() if row.state == state]
        ended = [number for number, row in self.rows.items() if row.state in SETTLED]
        chosen = [*of_state, *reversed(ended)][:room]
        return {number: self.rows[number] for number in sorted(chosen)}

    def _counts(self) -> str:
        count = Counter(row.state for row in self.rows.values())
        left = self._left()
        said = [f"{count['finished']} of {self._in_all()} finished"]
        said += [f"{count[state]} {state}" for state in STATES[1:] if count[state]]
        parts = [", ".join(said), self._source.note(), f"about {duration(left)} left" if left else ""]
        return "; ".join(part for part in parts if part)

    def _left(self) -> float:
        """Seconds, if the jobs to come take as long as those that ended; 0 where nothing is left or known."""
        running = [row for row in self.rows.values() if row.state == "running"]
        waiting = sum(row.state in ("queued", "elsewhere") for row in self.rows.values())
        waiting += self._source.to_come()
        took = self._took or [row.seconds * row.of / row.epochs for row in running if row.epochs]
        if not took or not (running or waiting):
            return 0.0
        one = fmean(took)
        return (waiting * one + sum(max(0.0, one - row.seconds) for row in running)) / self._at_a_time

    def _in_all(self) -> int:
        return len(self.rows) + self._source.to_come()

    def _say(self, *parts: str | tuple[str, str]) -> None:
        """A line of texts, some with a style; a job's own words have no power over the terminal."""
        spelled = [(printable(part), "") if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts]
        with self._while_somebody_looks():
            self.console.print(Text.assemble(*spelled), soft_wrap=True, highlight=False)

    @contextmanager
    def _while_somebody_looks(self) -> Iterator[None]:
        """A terminal that was closed takes no more words; the jobs are to save their steps all the same."""
        try:
            yield
        except OSError:
            self._live = None
            self.console.quiet = True


def _number(value: Any, otherwise: T) -> float | T:
    """What a result says, if it is a number of a size that a run comes to."""
    return value if isinstance(value, int | float) and abs(value) < LARGEST else otherwise
