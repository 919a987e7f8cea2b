"""Ranks meet before they begin: whoever was here before is not mistaken for one, and all hear what is not the same."""

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from torch.distributed import HashStore

from vgg_cifar import meeting
from vgg_cifar.errors import RunError, UserError

FACTS = {meeting.FOLDER: [1, 2], "seed": 0}


def together(ranks: int, work: Callable[[int], Any]) -> list[Any]:
    """What several ranks return, or raise, each in a thread."""
    results: list[Any] = [None] * ranks

    def run(rank: int) -> None:
        try:
            results[rank] = work(rank)
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def agreed(facts: list[dict[str, Any]], address: str = "127.0.0.1") -> list[Any]:
    store = HashStore()

    def work(rank: int) -> str | None:
        part = meeting.meet(store, rank, len(facts), 30)
        return meeting.agree(part, rank, len(facts), facts[rank], address, 30)

    return together(len(facts), work)


def test_ranks_that_are_started_again_find_nothing_of_those_before_them() -> None:
    store = HashStore()
    seen = []
    for start in range(3):

        def work(rank: int, start: int = start) -> set[str]:
            part = meeting.meet(store, rank, 4, 30)
            part.set(f"{start}/{rank}", "mine")
            return {
                key for key in (f"{other}/{each}" for other in range(start) for each in range(4)) if part.check([key])
            }

        seen.append(together(4, work))
    assert seen == [[set()] * 4] * 3


def test_a_rank_that_does_not_come_is_missed() -> None:
    with pytest.raises(RunError, match="no sign of 2 of 3 ranks"):
        meeting.meet(HashStore(), 0, 3, 0.3)
    with pytest.raises(RunError, match="no sign of welcome"):
        meeting.meet(HashStore(), 1, 3, 0.3)


def test_ranks_that_do_the_same_on_one_machine_need_no_address() -> None:
    assert agreed([FACTS, FACTS, FACTS]) == [None, None, None]


def test_all_learn_the_address_by_which_other_machines_know_rank_0() -> None:
    assert agreed([FACTS, FACTS], "192.0.2.7") == ["192.0.2.7", "192.0.2.7"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seed": 1}, r"seed: 1 for rank 2 on \S+, 0 for rank 0; start all ranks with the same command"),
        ({"extra": True}, r"extra: true for rank 2 on \S+, null for rank 0; start all ranks with the same command"),
        ({meeting.FOLDER: None}, r"hydra.run.dir: rank 2 on \S+ does not see the folder that rank 0 writes to; .*"),
    ],
    ids=["another value", "one more", "no folder"],
)
def test_every_rank_hears_what_one_has_otherwise(change: dict[str, Any], line: str) -> None:
    errors = agreed([FACTS, FACTS, FACTS | change])
    assert all(isinstance(error, UserError) for error in errors)
    assert len({str(error) for error in errors}) == 1
    with pytest.raises(UserError, match=f"^{line}$"):
        raise errors[0]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the addresses of its interfaces")
def test_the_interface_towards_an_address_is_the_one_of_the_route() -> None:
    assert meeting.interface_towards("127.0.0.1") == "lo"
    assert meeting.interface_towards("no address") is None
