"""Predictions as text: a table for a person, JSON and CSV for programs, each piece by piece."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from vgg_cifar.errors import printable
from vgg_cifar.prediction.predictor import Prediction
from vgg_cifar.spreadsheet import cell

DIGITS = 6
"""Of a probability, those that count."""
PERCENT = len("100.0%")
LEAST_NAME, LEAST_CLASS, GAP = 8, 5, 2
"""Columns of a terminal."""

Answers = Sequence[tuple[str, Prediction]]
"""Names of images, each with what it is taken for."""
SuperclassOf = Callable[[str], str | None]


class Output(Protocol):
    """A text in the making: `begin`, `add` any number of times, `end`."""

    def begin(self) -> str:
        """What comes before the first answer."""

    def add(self, answers: Answers) -> str:
        """What says these answers."""

    def end(self) -> str:
        """What comes after the last one."""


class Json:
    """A list of objects, one a line: `file`, and `predictions`, each with `class`, `superclass`, `probability`."""

    def __init__(self, top: int, superclass_of: SuperclassOf) -> None:
        self.top = top
        self.superclass_of = superclass_of
        self._between = "\n"

    def begin(self) -> str:
        """The list's opening."""
        return "["

    def add(self, answers: Answers) -> str:
        """The objects; every sign beyond ASCII is escaped, so that none steers a terminal."""
        text = ""
        for name, prediction in answers:
            ranked = [
                {"class": each, "superclass": self.superclass_of(each), "probability": _short(probability)}
                for each, probability in prediction.top(self.top)
            ]
            text += self._between + json.dumps({"file": name, "predictions": ranked})
            self._between = ",\n"
        return text

    def end(self) -> str:
        """The list's end."""
        return "\n]\n"


class Csv:
    """A line per image and rank: `file`, `rank` from 1, `class`, `superclass`, `probability`."""

    def __init__(self, top: int, superclass_of: SuperclassOf) -> None:
        self.top = top
        self.superclass_of = superclass_of

    def begin(self) -> str:
        """The names of the columns."""
        return self._lines([["file", "rank", "class", "superclass", "probability"]])

    def add(self, answers: Answers) -> str:
        """The lines; signs that a terminal would obey are spelled out, and no name is a formula."""
        return self._lines(
            [_word(name), rank, _word(each), _word(self.superclass_of(each) or ""), _short(probability)]
            for name, prediction in answers
            for rank, (each, probability) in enumerate(prediction.top(self.top), start=1)
        )

    def end(self) -> str:
        """Nothing."""
        return ""

    @staticmethod
    def _lines(rows: Iterable[list[object]]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue()


class Table:
    """For a person: a line per image if there is room, else as many as its classes need; columns stay where they are.

    Args:
        top: classes per image.
        names: of all images.
        classes: names of all classes.
        console: where the table will be read; where that is no terminal, every image has one line.
    """

    def __init__(self, top: int, names: Sequence[str], classes: Sequence[str], console: Console) -> None:
        self.top = min(top, len(classes))
        self.console = console
        longest = max(LEAST_NAME, *(cell_len(printable(each)) for each in names))
        self.of_class = max(LEAST_CLASS, *(cell_len(printable(each)) for each in classes))
        if console.is_terminal:
            self.of_class = max(LEAST_CLASS, min(self.of_class, console.width - LEAST_NAME - PERCENT - 2 * GAP))
        each = GAP + self.of_class + GAP + PERCENT
        if not console.is_terminal:
            console.width = longest + self.top * each
        room = console.width - max(LEAST_NAME, min(longest, console.width // 3))
        self.across = max(1, min(self.top, room // each))
        self.of_name = max(LEAST_NAME, min(longest, console.width - self.across * each))

    def begin(self) -> str:
        """The headings."""
        table = self._grid()
        table.add_row(Text("file", "bold"), Text("likeliest first", "bold"))
        return self._text(table)

    def add(self, answers: Answers) -> str:
        """The lines."""
        table = self._grid()
        for name, prediction in answers:
            ranked = [self._cell(*each) for each in prediction.top(self.top)]
            ranked[0].stylize("bold")
            columns = [Text("\n").join(ranked[place :: self.across]) for place in range(self.across)]
            table.add_row(Text(printable(name)), *columns)
        return self._text(table)

    def end(self) -> str:
        """Nothing."""
        return ""

    def _cell(self, name: str, probability: float) -> Text:
        cell = Text(printable(name))
        cell.truncate(self.of_class, overflow="ellipsis", pad=True)
        return cell.append(f"{probability:>{GAP + PERCENT}.1%}")

    def _grid(self) -> Grid:
        grid = Grid.grid(padding=(0, GAP, 0, 0))
        grid.add_column(width=self.of_name, overflow="fold")
        for _ in range(self.across):
            grid.add_column(width=self.of_class + GAP + PERCENT, no_wrap=True)
        return grid

    def _text(self, table: Grid) -> str:
        with self.console.capture() as captured:
            self.console.print(table)
        return "".join(f"{line.rstrip(' ')}\n" for line in captured.get().splitlines())


def _word(name: str) -> str:
    return cell(printable(name))


def _short(probability: float) -> float:
    return float(f"{probability:.{DIGITS}g}")
