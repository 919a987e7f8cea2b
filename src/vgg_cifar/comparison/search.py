"""`search.json`: what a search has tried and what came of it, beside the `sweep.json` of the same folder.

Here the file is defined. Whoever searches makes a `Search` and writes it; a page reads it, and needs nothing else of
the search.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from vgg_cifar.errors import UserError, printable
from vgg_cifar.runs.folder import json_text, read_json, write

FILE = "search.json"
MOST_TRIALS = 10_000
MOST_OBJECTIVES = 8
MOST_OPTIONS = 200
MOST_EPOCHS = 10_000


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Number = Annotated[float, Field(gt=-(2.0**63), lt=2.0**63)]
Whole = Annotated[int, Field(ge=0, lt=2**31)]
Key = Annotated[str, Field(min_length=1, max_length=200)]
Word = Annotated[str, Field(max_length=1000)]
Integer = Annotated[int, Field(gt=-(2**63), lt=2**63)]
Value = bool | Integer | Number | Word | None
"""What an option may be set to."""
Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]
"""ISO 8601."""
Epoch = Annotated[int, Field(ge=0, lt=2**31, strict=False)]
"""A key of a JSON object is a text."""
Share = Annotated[float, Field(ge=0, le=1 + 1e-6)]
Direction = Literal["maximize", "minimize"]
State = Literal["complete", "pruned", "failed", "running", "waiting"]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class _Span(_Part):
    low: Number
    high: Number
    log: bool = False

    @model_validator(mode="after")
    def _goes_up(self) -> Self:
        if self.low > self.high:
            raise ValueError("low is above high")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range begins above 0")
        return self


class FloatRange(_Span):
    """Any number from `low` to `high`, evenly by its logarithm with `log`; or those that are `step` apart."""

    kind: Literal["float"] = "float"
    step: Annotated[float, Field(gt=0, lt=2.0**63)] | None = None


class IntRange(_Span):
    """Whole numbers from `low` to `high`, both among them, `step` apart."""

    kind: Literal["int"] = "int"
    low: Integer
    high: Integer
    step: Annotated[int, Field(ge=1, lt=2**63)] | None = None


class Choice(_Part):
    """One of some values."""

    kind: Literal["choice"] = "choice"
    choices: Annotated[list[Value], Field(min_length=1, max_length=1000)]


Range = Annotated[FloatRange | IntRange | Choice, Field(discriminator="kind")]


class Trial(_Part):
    """One setting of the options that are searched."""

    number: Whole
    """From 0, in the order in which they were thought of."""
    state: State
    values: Annotated[list[Number], Field(max_length=MOST_OBJECTIVES)] | None = None
    """Of each objective, in their order; a complete trial has them."""
    params: Annotated[dict[Key, Value], Field(max_length=MOST_OPTIONS)]
    """By the option's name, as it is typed."""
    intermediate: Annotated[dict[Epoch, Number], Field(max_length=MOST_EPOCHS)] = {}
    """The first objective by epoch, from 1; numbers that are not finite are left out."""
    started: Moment | None = None
    ended: Moment | None = None
    jobs: Annotated[list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(max_length=1000)] = []
    """Its run folders, within the sweep's; none where another machine ran it."""


class Search(_Part):
    """What `search.json` holds."""

    study: Word
    """Its name."""
    objectives: Annotated[dict[Key, Direction], Field(min_length=1, max_length=MOST_OBJECTIVES)]
    """Metrics, by which direction is better, the first the main one; never of the test set."""
    space: Annotated[dict[Key, Range], Field(max_length=MOST_OPTIONS)]
    """What is searched, by the option's name."""
    sampler: Word
    pruner: Word | None
    seeds_per_trial: Annotated[int, Field(ge=1, lt=2**31)] = 1
    n_trials: Whole
    """How many there should be in the end."""
    importance: dict[Key, dict[Key, Share]] = {}
    """By objective, each option's share in its variance; empty where there are too few trials to tell."""
    trials: Annotated[list[Trial], Field(max_length=MOST_TRIALS)] = []

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Search:
        for name in self.objectives:
            if name.startswith("test/"):
                raise ValueError(f"objectives: nothing is chosen by the test set ({name})")
        if unknown := set(self.importance) - set(self.objectives):
            raise ValueError(f"importance: there is no objective {min(unknown)}")
        if len({trial.number for trial in self.trials}) < len(self.trials):
            raise ValueError("trials: two have the same number")
        for trial in self.trials:
            if trial.values is None and trial.state == "complete":
                raise ValueError(f"trials: {trial.number} is complete and has no values")
            if trial.values is not None and len(trial.values) != len(self.objectives):
                raise ValueError(f"trials: {trial.number} has not a value for each objective")
        return self

    @classmethod
    def read(cls, folder: Path) -> Search | None:
        """What a sweep's folder says of its search; None where there was none.

        Raises:
            UserError: if the file cannot be read or is damaged, naming where.
        """
        path = folder / FILE
        if path.is_symlink():
            raise UserError(f"{path} is a link, which is not followed")
        if not path.exists():
            return None
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            place = "".join(f"{each}." for each in fault["loc"])[:-1]
            said = ": ".join(each for each in (place[:200], fault["msg"].removeprefix("Value error, ")[:300]) if each)
            raise UserError(f"{path} is damaged: {printable(said)}") from error

    def write(self, folder: Path) -> None:
        """Replace the file of a sweep's folder at once.

        Raises:
            RunError: if it cannot be written.
        """
        write(folder / FILE, json_text(self.model_dump()))
