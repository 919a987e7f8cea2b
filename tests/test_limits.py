"""Work that would never end, or would fill the memory, is given up in one line."""

import resource
import signal
from collections.abc import Callable
from contextlib import suppress

import pytest

from vgg_cifar import limits
from vgg_cifar.errors import UserError
from vgg_cifar.limits import bounded


def state() -> object:
    return (
        signal.getsignal(signal.SIGVTALRM),
        signal.getitimer(signal.ITIMER_VIRTUAL),
        resource.getrlimit(resource.RLIMIT_AS),
    )


def for_ever() -> None:
    while True:
        pass


def swallowing() -> None:
    while True:
        with suppress(Exception):
            for_ever()


def breaking_off() -> None:
    try:
        for_ever()
    finally:
        raise ValueError("what was left half done fails")


@pytest.mark.parametrize("work", [for_ever, swallowing, breaking_off])
def test_endless_work_is_given_up(work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.1)
    before = state()
    with pytest.raises(UserError, match=r"^file: takes more than 0\.1 s"), bounded("file"):
        work()
    assert state() == before


def greedy() -> None:
    bytearray(2**32)


def disguising() -> None:
    try:
        greedy()
    except MemoryError as error:
        raise ValueError("it did not work") from error


@pytest.mark.parametrize("work", [greedy, disguising])
def test_greedy_work_is_given_up(work: Callable[[], None]) -> None:
    before = state()
    with pytest.raises(UserError, match=r"^file: takes more than .* 1024 MB"), bounded("file"):
        work()
    assert state() == before


def test_anything_else_passes() -> None:
    before = state()
    with bounded("file"):
        done = bytearray(2**24)
    assert len(done) == 2**24
    with pytest.raises(KeyError, match="nothing"), bounded("file"):
        raise KeyError("nothing")
    assert state() == before
