"""Intervals and tests, beside scipy's and beside their definitions."""

from itertools import combinations

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from vgg_cifar.comparison.statistics import estimate, holm, paired

VALUES = [0.52, 0.55, 0.51, 0.58]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_an_interval_and_its_p_are_those_of_a_t_test(n: int) -> None:
    found = estimate(VALUES[:n])
    expected = scipy.stats.ttest_1samp(VALUES[:n], 0)
    assert found is not None
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.deviation == pytest.approx(scipy.stats.tstd(VALUES[:n]))


def test_pairs_are_those_that_both_have() -> None:
    these, those = {"0": 0.52, "1": 0.55, "2": 0.51, "9": 0.9}, {"2": 0.50, "1": 0.50, "0": 0.51, "7": 0.1}
    found = paired(these, those)
    expected = scipy.stats.ttest_rel([0.52, 0.55, 0.51], [0.51, 0.50, 0.50])
    assert found is not None
    assert (found.n, found.mean) == (3, pytest.approx((0.01 + 0.05 + 0.01) / 3))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert paired(these, {"8": 0.5}) is None


@pytest.mark.parametrize("values", [[0.3], [0.1 + 0.2, 0.3], [0.5, 0.5, 0.5]], ids=str)
def test_values_without_spread_have_no_interval(values: list[float]) -> None:
    found = estimate(values)
    assert found is not None
    assert (found.half, found.interval, found.p) == (None, None, None)
    assert estimate([]) is None


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(values: list[float]) -> None:
    places = range(len(values))
    families = [family for size in range(1, len(values) + 1) for family in combinations(places, size)]
    expected = [
        min(1.0, max(len(family) * min(values[each] for each in family) for family in families if place in family))
        for place in places
    ]
    assert holm(values) == pytest.approx(expected)


def test_what_is_no_test_is_not_counted() -> None:
    assert holm([None, 0.03, None, 0.02]) == [None, 0.04, None, 0.04]
