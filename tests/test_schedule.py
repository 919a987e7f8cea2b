"""The `schedule` group: a learning rate that is a pure function of how far the run has come."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from vgg_cifar.schedule import ScheduleOptions

adapter: TypeAdapter[Any] = TypeAdapter(ScheduleOptions)

NAMES = ["constant", "cosine", "onecycle", "multistep"]
AT_ONCE_FULL = ["constant", "cosine", "onecycle"]
"""Schedules that stand at the full rate when the warm-up ends, however long it was."""

totals = st.integers(1, 400)
warmups = st.floats(0, 0.99)
moments = st.lists(st.floats(0, 0.99), max_size=4).map(sorted)


def schedule(name: str, warmup: float = 0.0, **more: Any) -> Any:
    defaults = {"milestones": [0.3, 0.6, 0.8], "gamma": 0.2} if name == "multistep" else {}
    return adapter.validate_python({"name": name, "warmup": warmup} | defaults | more)


def factors(name: str, total: int, warmup: float = 0.0, **more: Any) -> list[float]:
    """The factor of every step of a run, and the one after its last."""
    chosen = schedule(name, warmup, **more)
    return [chosen.factor(step, total) for step in range(total + 1)]


def torchs(kind: type[LRScheduler], total: int, **arguments: Any) -> list[float]:
    optimizer = SGD([torch.zeros(1)], lr=1.0)
    scheduler = kind(optimizer, **arguments)
    rates = []
    for _ in range(total + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("name", NAMES)
@given(total=totals, warmup=warmups, beyond=st.integers(1, 100))
@settings(max_examples=50)
def test_the_rate_never_leaves_the_range_from_zero_to_full(name: str, total: int, warmup: float, beyond: int) -> None:
    values = [*factors(name, total, warmup), schedule(name, warmup).factor(total + beyond, total)]
    assert all(0 <= value <= 1 for value in values)


@pytest.mark.parametrize("name", NAMES)
@given(total=st.integers(2, 400), data=st.data())
@settings(max_examples=50)
def test_the_warm_up_climbs_evenly_from_near_zero(name: str, total: int, data: st.DataObject) -> None:
    climbing = data.draw(st.integers(1, total - 1))
    climb = [0.0, *factors(name, total, climbing / total)[:climbing], 1.0]
    steps = [after - before for before, after in pairwise(climb)]
    assert steps == pytest.approx([1 / (climbing + 1)] * (climbing + 1))


@pytest.mark.parametrize("name", AT_ONCE_FULL)
@given(total=totals, warmup=warmups)
@settings(max_examples=50)
def test_the_rate_is_full_when_the_warm_up_ends_and_does_not_climb_again(name: str, total: int, warmup: float) -> None:
    climbing = round(warmup * total)
    assume(climbing < total)
    after = factors(name, total, warmup)[climbing:]
    assert after[0] == 1
    assert all(later <= earlier for earlier, later in pairwise(after))


@given(total=totals, warmup=warmups)
@settings(max_examples=50)
def test_constant_stays_at_the_full_rate(total: int, warmup: float) -> None:
    assert set(factors("constant", total, warmup)[round(warmup * total) :]) == {1.0}


@given(total=totals)
@settings(max_examples=30)
def test_cosine_without_warm_up_is_torchs(total: int) -> None:
    assert factors("cosine", total) == pytest.approx(torchs(CosineAnnealingLR, total, T_max=total), abs=1e-9)


@given(total=totals, warmup=warmups)
@settings(max_examples=50)
def test_onecycle_peaks_once_at_the_end_of_the_warm_up_and_runs_straight_down_to_zero(
    total: int, warmup: float
) -> None:
    climbing = round(warmup * total)
    assume(climbing < total)
    values = factors("onecycle", total, warmup)
    assert [step for step, value in enumerate(values) if value == max(values)] == [climbing]
    assert values[climbing] == 1
    assert values[-1] == 0
    descent = [earlier - later for earlier, later in pairwise(values[climbing:])]
    assert descent == pytest.approx([1 / (total - climbing)] * (total - climbing))


@pytest.mark.parametrize("name", ["cosine", "onecycle"])
@given(total=totals, warmup=warmups)
@settings(max_examples=50)
def test_what_decays_ends_at_zero(name: str, total: int, warmup: float) -> None:
    assume(round(warmup * total) < total)
    assert factors(name, total, warmup)[-1] == 0


@given(total=totals, gamma=st.floats(0.01, 1), data=st.data())
@settings(max_examples=50)
def test_multistep_is_torchs_where_milestones_fall_on_whole_steps(
    total: int, gamma: float, data: st.DataObject
) -> None:
    steps = sorted(data.draw(st.lists(st.integers(1, total - 1), max_size=4))) if total > 1 else []
    ours = factors("multistep", total, milestones=[step / total for step in steps], gamma=gamma)
    assert ours == pytest.approx(torchs(MultiStepLR, total, milestones=steps, gamma=gamma))


@given(total=totals, warmup=st.floats(0, 0.2), milestones=moments)
@settings(max_examples=50)
def test_a_warm_up_does_not_move_milestones(total: int, warmup: float, milestones: list[float]) -> None:
    climbing = round(warmup * total)
    without = factors("multistep", total, milestones=milestones)
    assert factors("multistep", total, warmup, milestones=milestones)[climbing:] == without[climbing:]


@pytest.mark.parametrize("name", NAMES)
@given(hundreds=st.integers(1, 3), times=st.integers(2, 5), percent=st.integers(0, 99))
@settings(max_examples=30)
def test_a_longer_run_follows_the_same_curve(name: str, hundreds: int, times: int, percent: int) -> None:
    total, warmup = 100 * hundreds, percent / 100
    climbing = percent * hundreds  # whole in both runs
    short, long = factors(name, total, warmup), factors(name, times * total, warmup)[::times]
    assert long[climbing:] == pytest.approx(short[climbing:], abs=1e-12)
    # A climb begins one step above zero, and a longer one with a smaller step.
    assert long[:climbing] == pytest.approx(short[:climbing], abs=1 / (climbing + 1))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "cosine", "warmup": 1.0},
        {"name": "cosine", "warmup": -0.1},
        {"name": "multistep", "warmup": 0.0, "milestones": [0.6, 0.3], "gamma": 0.2},
        {"name": "multistep", "warmup": 0.0, "milestones": [0.5, 1.0], "gamma": 0.2},
        {"name": "multistep", "warmup": 0.0, "milestones": [0.5], "gamma": 0.0},
        {"name": "multistep", "warmup": 0.0, "milestones": [0.5], "gamma": 1.5},
        {"name": "constant", "warmup": 0.0, "gamma": 0.2},
    ],
    ids=str,
)
def test_a_schedule_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        adapter.validate_python(change)
