"""Hydra's ways of writing several values become a space; what no search can try is refused."""

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from vgg_cifar.comparison.search import Choice, FloatRange, IntRange
from vgg_cifar.errors import UserError
from vgg_cifar.overrides import parse
from vgg_cifar.sweeps.search.space import Space

WRITTEN: dict[str, Any] = {
    "a=x,y": Choice(choices=["x", "y"]),
    "a=1,true,null": Choice(choices=["1", "True", "null"]),
    "a=interval(0,1)": FloatRange(low=0.0, high=1.0),
    "a=tag(log,interval(1e-3,1))": FloatRange(low=1e-3, high=1.0, log=True),
    "a=int(interval(1,8))": IntRange(low=1, high=8, step=1),
    "a=tag(log,int(interval(8,512)))": IntRange(low=8, high=512, log=True),
    "a=range(1,10,3)": IntRange(low=1, high=7, step=3),
    "a=range(0,1,0.25)": FloatRange(low=0.0, high=0.75, step=0.25),
    "a=range(0,0.3,0.1)": FloatRange(low=0.0, high=0.2, step=0.1),
    "+a=x,y": Choice(choices=["x", "y"]),
}


@pytest.mark.parametrize(("written", "dimension"), WRITTEN.items(), ids=WRITTEN)
def test_what_is_written_is_a_dimension(written: str, dimension: Any) -> None:
    assert Space([written, "b=1"]).dimensions == {"a": dimension}


def test_dimensions_are_distributions_of_optunas() -> None:
    space = Space(["a=x,y", "b=tag(log,interval(1,2))", "c=range(1,10,3)", "d=range(0,1,0.25)"])
    assert space.distributions() == {
        "a": CategoricalDistribution(["x", "y"]),
        "b": FloatDistribution(1.0, 2.0, log=True),
        "c": IntDistribution(1, 7, step=3),
        "d": FloatDistribution(0.0, 0.75, step=0.25),
    }


def test_values_are_typed_as_the_option_was() -> None:
    space = Space(["optimizer=sgd,adam", "+b=interval(0,1)", "c='x y',x", "seed=3"])
    assert space.fixed == ["seed=3"]
    typed = space.overrides({"optimizer": "adam", "b": 1 / 3, "c": "x"})
    assert typed == ["optimizer=adam", f"+b={1 / 3!r}", "c=x"]
    assert parse(typed)[1].value() == 1 / 3  # to the last digit


@pytest.mark.parametrize("value", ["'x y'", "'a,b'", "'it\\'s'", "[1,2]", "{a: 1}", "null", "'null'"])
def test_a_choice_is_what_it_would_be_by_itself(value: str) -> None:
    space = Space([f"a={value},other"])
    dimension = space.dimensions["a"]
    assert isinstance(dimension, Choice)
    (again,) = parse(space.overrides({"a": dimension.choices[0]}))
    (alone,) = parse([f"a={value}"])
    assert again.value() == alone.value()


def test_a_label_is_short() -> None:
    assert Space(["a=interval(0,1)", "b=x,y"]).label({"a": 0.123456789, "b": "x"}) == "a=0.1235 b=x"


def test_corners_have_every_choice_and_both_ends() -> None:
    corners = list(Space(["z=1", "a=x,y,w", "b=interval(0,1)"]).corners())
    assert corners == [
        ["z=1", "a=x", "b=0.0"],
        ["z=1", "a=y", "b=0.0"],
        ["z=1", "a=w", "b=0.0"],
        ["z=1", "a=x", "b=1.0"],
    ]


WRONG = {
    "a=1": "nothing is searched",
    "a=glob(*)": "a=glob(*): a search needs the names; write them out: a=...,...",
    "a=tag(linear,interval(0,1))": "only intervals and ranges take a tag, and only log",
    "a=tag(log,choice(1,2))": "only intervals and ranges take a tag, and only log",
    "a=interval(1,0)": "should go from a number to a larger one",
    "a=interval(0,inf)": "should go from a number to a larger one",
    "a=interval(nan,1)": "should go from a number to a larger one",
    "a=tag(log,interval(0,1))": "should go from a number to a larger one, the first above 0",
    "a=tag(log,range(1,10,2))": "on a logarithmic scale there are no steps",
    "a=range(3,1)": "should go up by at least one step",
    "a=range(1,2)": "should go up by at least one step",
    "a=range(3,1,-1)": "should go up by at least one step",
    "a=range(0,inf)": "should go up by at least one step",
    "a=1,1": "each once",
    "seed=1,2": "seed: is not searched",
}


@pytest.mark.parametrize(("written", "message"), WRONG.items(), ids=WRONG)
def test_what_cannot_be_searched_is_refused_in_one_line(written: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        Space([written])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_option_is_searched_once() -> None:
    with pytest.raises(UserError, match="a: is searched twice"):
        Space(["a=1,2", "a=3,4"])
