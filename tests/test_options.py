"""What all options share: strict, closed, fixed, cheap to import, and a fault told in one line with the user's key."""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError, model_validator

import vgg_cifar
from vgg_cifar.errors import UserError
from vgg_cifar.options import (
    Count,
    Fraction,
    NotNegative,
    Options,
    Positive,
    in_one_line,
    keys,
    literal,
    nearest,
    options_of,
)


class Round(Options):
    name: Literal["round"]
    radius: Positive


class Square(Options):
    name: Literal["square"]
    side: Count
    holes: list[Round]

    @model_validator(mode="after")
    def _not_too_large(self) -> "Square":
        if self.side > 100:
            raise ValueError("a side of over 100 is too long: make it shorter")
        return self


class Drawing(Options):
    shape: Annotated[Round | Square, Field(discriminator="name")]
    share: Fraction
    border: NotNegative
    scales: Annotated[list[float], Field(min_length=2, max_length=2)]
    label: Annotated[str, Field(pattern="^[a-z]+$")]
    limit: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)]
    on: bool


GOOD: dict[str, Any] = {
    "shape": {"name": "square", "side": 3, "holes": [{"name": "round", "radius": 1.0}]},
    "share": 0.5,
    "border": 0,
    "scales": [1.0, 2.0],
    "label": "tile",
    "limit": 5,
    "on": True,
}

Change = Callable[[dict[str, Any]], Any]


def faulty(*changes: Change) -> str:
    """The line that tells what is wrong with a changed drawing."""
    raw = copy.deepcopy(GOOD)
    for change in changes:
        change(raw)
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate(raw)
    line = in_one_line(caught.value, raw, Drawing)
    assert "\n" not in line
    assert not re.search("should be (Input|Unable|List|String|Value)", line), "not a sentence"
    return line


def set_to(*path: str | int, value: Any) -> Change:
    def change(raw: Any) -> None:
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = value

    return change


def without(*path: str | int) -> Change:
    def change(raw: Any) -> None:
        for key in path[:-1]:
            raw = raw[key]
        del raw[path[-1]]

    return change


def test_what_is_right_is_taken_as_it_is() -> None:
    assert Drawing.model_validate(GOOD).model_dump() == GOOD


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("share",), "half", "a valid number"),
        (("share",), "0.5", "a valid number"),
        (("share",), 1.0, "less than 1"),
        (("share",), -0.5, "greater than or equal to 0"),
        (("share",), float("nan"), "finite"),
        (("share",), None, "a valid number"),
        (("border",), -1.0, "greater than or equal to 0"),
        (("border",), float("inf"), "finite"),
        (("on",), "yes", "boolean"),
        (("on",), 1, "boolean"),
        (("label",), 7, "a valid string"),
        (("label",), "two\nlines", "match"),
        (("scales",), 3.0, "a valid list"),
        (("scales",), [1.0], "at least 2"),
        (("scales",), [1.0, 2.0, 3.0], "at most 2"),
        (("scales", 1), "large", "a valid number"),
        (("limit",), "all", "a valid"),
        (("shape", "side"), 0, "greater than or equal to 1"),
        (("shape", "side"), 2.5, "integer"),
        (("shape", "side"), True, "integer"),
        (("shape", "holes"), "none", "a valid list"),
        (("shape", "holes", 0, "radius"), 0.0, "greater than 0"),
    ],
    ids=str,
)
def test_a_wrong_value_is_told_with_its_key_what_it_should_be_and_what_it_is(
    path: tuple[str | int, ...], value: Any, said: str
) -> None:
    line = faulty(set_to(*path, value=value))
    assert line.startswith(f"{'.'.join(map(str, path))}: should ")
    assert said in line
    assert f"is {value!r}" in line


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (("colour",), "colour: there is no such option"),
        (("shape", "colour"), "shape.colour: there is no such option"),
        (("shape", "radius"), "shape.radius: shape=square has no such option, only round"),
        (("shape", "sides"), "shape.sides: there is no such option; did you mean shape.side?"),
        (("side",), "side: there is no such option; did you mean shape.side?"),
        (("form", "side"), "form: there is no such option"),
        (("shapes",), "shapes: there is no such option; did you mean shape?"),
    ],
    ids=str,
)
def test_an_unknown_option_is_told_with_its_key_and_what_may_have_been_meant(path: tuple[str, ...], said: str) -> None:
    def change(raw: dict[str, Any]) -> None:
        for key in path[:-1]:
            raw = raw.setdefault(key, {})
        raw[path[-1]] = 1.0

    assert faulty(change) == said


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("lr", "optimizer.lr"),
        ("trainer.max_epoch", "trainer.max_epochs"),
        ("trainr.max_epochs", "trainer.max_epochs"),
        ("max_epochs", "trainer.max_epochs"),
        ("trainer.lr", "optimizer.lr"),
        ("optimizr", "optimizer"),
        ("optimizerlr", "optimizer.lr"),
        ("trainer.colour", None),
        ("qqqq", None),
    ],
)
def test_the_nearest_name_is_what_was_meant(word: str, key: str | None) -> None:
    assert nearest(word, ["optimizer", "optimizer.lr", "trainer", "trainer.max_epochs", "seed"]) == key


def test_the_options_of_every_choice_are_known_until_one_is_taken() -> None:
    taken = {"shape", "shape.name", "shape.radius", "share", "border", "scales", "label", "limit", "on"}
    assert set(keys(Drawing, {"shape": {"name": "round"}})) == taken
    assert set(keys(Drawing)) == taken | {"shape.side", "shape.holes"}


def test_alternatives_are_told_together() -> None:
    line = faulty(set_to("limit", value="all"))
    assert line.startswith("limit: should be a valid integer or a valid number, is 'all'")


@pytest.mark.parametrize(
    "path",
    [("share",), ("shape",), ("shape", "side"), ("shape", "holes", 0, "radius")],
    ids=lambda path: ".".join(map(str, path)),
)
def test_a_missing_option_is_told_with_its_key(path: tuple[str | int, ...]) -> None:
    assert faulty(without(*path)) == f"{'.'.join(map(str, path))}: this option is missing"


def test_an_unknown_choice_of_a_group_is_told_with_those_there_are() -> None:
    line = faulty(set_to("shape", "name", value="oval"))
    assert re.match(r"shape(\.name)?: ", line)
    for word in ("oval", "round", "square"):
        assert repr(word) in line


def test_a_group_without_a_name_is_told_by_its_key() -> None:
    line = faulty(without("shape", "name"))
    assert re.match(r"shape(\.name)?: ", line)
    assert "name" in line


def test_options_that_do_not_fit_together_are_told_in_their_checks_own_words() -> None:
    assert faulty(set_to("shape", "side", value=101)) == "shape: a side of over 100 is too long: make it shorter"


def test_of_several_faults_the_first_is_told_and_the_others_are_counted() -> None:
    line = faulty(
        set_to("shape", "side", value=0), set_to("shape", "holes", value=3), set_to("share", value=2.0), without("on")
    )
    assert line.startswith("shape.side: ")
    assert line.endswith("(and 3 more)")


def test_what_is_missing_is_told_together_and_last() -> None:
    assert faulty(without("on"), without("share")) == "share: this option is missing, and so is on"
    line = faulty(without("on"), without("share"), without("limit"), set_to("shape", "side", value=0))
    assert line.startswith("shape.side: ")
    assert line.endswith("(and 3 more)")


def test_a_misspelt_name_is_told_before_what_it_leaves_missing() -> None:
    line = faulty(without("share"), without("on"), set_to("shar", value=0.5))
    assert line == "shar: there is no such option; did you mean share? (and 2 more)"


def test_a_fault_of_the_whole_has_no_key() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Drawing).validate_python(3)
    line = in_one_line(caught.value, 3, Drawing)
    assert line
    assert not line.startswith(":")


def test_options_cannot_be_changed_once_made() -> None:
    drawing = Drawing.model_validate(GOOD)
    with pytest.raises(ValidationError):
        drawing.share = 0.1
    assert drawing.share == GOOD["share"]


HEAVY = {"torch", "torchvision", "lightning", "torchmetrics", "numpy", "tensorboard"}


class Order(Options):
    """What a command without Hydra may be asked."""

    kinds: Annotated[list[Literal["tea", "milk"]], Field(min_length=1)]
    cups: Annotated[int, Field(ge=1)] | Literal["all"] = 2
    hot: bool = True


def test_what_is_typed_is_taken_for_what_it_says_and_what_is_not_stays() -> None:
    assert options_of(Order, {"kinds": ["tea", "milk"], "cups": "3", "hot": "false"}) == Order(
        kinds=["tea", "milk"], cups=3, hot=False
    )
    assert options_of(Order, {"kinds": ["tea"], "cups": "all", "hot": None}) == Order(kinds=["tea"], cups="all")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ({"cups": "0"}, "cups: should be greater than or equal to 1 or 'all', is 0"),
        ({"cups": "-1"}, "cups: should be greater than or equal to 1 or 'all', is -1"),
        ({"cups": "٣"}, "cups: should be a valid integer or 'all', is '٣'"),
        ({"cups": "9" * 5000}, f"cups: should be a valid integer or 'all', is '{'9' * 5000}'"),
        ({"hot": "yes"}, "hot: should be a valid boolean, is 'yes'"),
        ({"hot": "1"}, "hot: should be a valid boolean, is 1"),
        ({"kinds": ["tea", "mlk"]}, "kinds: should be 'tea' or 'milk', is 'tea,mlk'"),
        ({"kinds": []}, "kinds: should have at least 1 item, not 0, is ''"),
        ({"kinds": None}, "kinds: this option is missing"),
        ({"cup": "1"}, "cup: there is no such option; did you mean cups?"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_typed_wrongly_is_told_with_its_key_what_it_should_be_and_what_it_is(
    typed: dict[str, str | list[str] | None], line: str
) -> None:
    with pytest.raises(UserError) as caught:
        options_of(Order, {"kinds": ["tea"], **typed})
    assert str(caught.value) == line


@pytest.mark.parametrize("part", ["evaluation", "exporting", "prediction"])
def test_the_options_of_a_command_import_no_heavy_library(part: str) -> None:
    imported = imported_by(f"vgg_cifar.{part}.options")
    assert not imported & HEAVY


def test_checking_a_configuration_imports_no_heavy_library() -> None:
    imported = imported_by("vgg_cifar.config")
    assert "vgg_cifar.model" in imported
    assert not imported & HEAVY


def imported_by(module: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        env=os.environ | {"PYTHONPATH": str(Path(vgg_cifar.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab'\\ ,=[]{}$\"ä\n0"),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    )
)
def test_a_value_in_hydras_grammar_is_read_back_as_it_was(value: Any) -> None:
    override = OverridesParser.create().parse_override(f"key={literal(value)}")
    assert plain(override.value()) == value


def plain(value: Any) -> Any:
    """What Hydra's parser reads, its quoted texts as texts."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.text if isinstance(value, QuotedString) else value
