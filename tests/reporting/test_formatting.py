"""Numbers as a person reads them."""

import pytest

from vgg_cifar.comparison.statistics import estimate
from vgg_cifar.errors import printable
from vgg_cifar.reporting.formatting import address, change, duration, margin, p_value, score, short, spread


@pytest.mark.parametrize(
    ("seconds", "text"), [(45.2, "45 s"), (99.4, "99 s"), (720, "12 min"), (5940, "99 min"), (12_000, "3 h 20 min")]
)
def test_a_duration_is_said_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_are_in_percent_and_losses_are_not() -> None:
    assert (score(0.53214, "test/top1"), score(1.23456, "val/loss")) == ("53.21%", "1.2346")
    assert (change(-0.0123, "test/top1"), change(0.0123, "val/loss")) == ("−1.23", "+0.0123")  # noqa: RUF001
    assert (spread(0.0123, "test/top1"), spread(0.0123, "val/loss")) == ("1.23", "0.0123")


def test_what_is_not_known_is_a_dash_and_an_interval_that_is_not_there_nothing() -> None:
    assert {score(None, "test/top1"), change(None, "x"), spread(None, "x"), p_value(None), duration(None)} == {"–"}  # noqa: RUF001
    assert margin(estimate([0.5]), "test/top1") == margin(None, "test/top1") == ""


def test_a_small_p_is_not_shown_as_none() -> None:
    assert (p_value(0.0004), p_value(0.049)) == ("< 0.001", "0.049")


def test_texts_from_a_folder_are_made_harmless() -> None:
    assert printable("a\x1b[2Jb\n") == "a\\x1b[2Jb\\n"
    assert address("javascript:alert(1)/a b?#") == "./javascript%3Aalert%281%29/a%20b%3F%23"
    assert short("abcdef", 4) == "abc…"
