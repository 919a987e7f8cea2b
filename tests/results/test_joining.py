"""Seeds that join a record: of the same recipe, on the same images, and what may differ only if that is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hand_made import MADE_OF

from vgg_cifar.errors import UserError
from vgg_cifar.results import records
from vgg_cifar.results.joining import joined
from vgg_cifar.runs.folder import RunFolder

Make = Callable[..., list[RunFolder]]
LATER = {"git": {"commit": "f" * 40, "dirty": False}}


@pytest.fixture
def more(seeds: Make, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Make a record of runs with the seeds 2, 3, ..., in a folder of their own."""

    def make(
        accuracies: list[float], *overrides: str, first: int = 2, note: str = "", **manifest: Any
    ) -> dict[str, Any]:
        to = f"more/{len(list(tmp_path.glob('more/*')))}"
        for folder in seeds(accuracies, *overrides, to=to, manifest=manifest):
            config = folder.read_config()
            folder.write_config(config | {"seed": config["seed"] + first})
        return records.record([tmp_path / to], note=note)

    return make


@pytest.fixture
def known(seeds: Make, tmp_path: Path) -> dict[str, Any]:
    seeds([0.5, 0.6], to="known")
    return records.record([tmp_path / "known"], name="mine", note="On a train.")


def test_a_record_has_the_seeds_of_both_as_if_it_had_been_made_of_all(
    known: dict[str, Any], more: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    made = joined(known, more([0.7, 0.8]))
    together = records.record([tmp_path / "known", tmp_path / "more"], name="mine", note="On a train.")
    assert made == together
    assert [run["seed"] for run in made["rows"][0]["runs"]] == [0, 1, 2, 3]


def test_seeds_stand_in_order_and_a_new_note_takes_the_place_of_the_old(
    known: dict[str, Any], more: Callable[..., dict[str, Any]]
) -> None:
    made = joined(more([0.7, 0.8], first=11, note="By night."), known | {"note": ""})
    assert [run["seed"] for run in made["rows"][0]["runs"]] == [0, 1, 11, 12]
    assert made["note"] == "By night."
    assert joined(known, made | {"rows": more([0.4], first=7)["rows"]})["note"] == "By night."


def test_another_commit_joins_only_if_that_is_said_and_then_for_good(
    known: dict[str, Any], more: Callable[..., dict[str, Any]]
) -> None:
    later = more([0.7], **LATER)
    with pytest.raises(
        UserError, match=r"^joins: these runs differ from those of mine in commit \(.*; differ=commit takes"
    ):
        joined(known, later)
    made = joined(known, later, ["commit"])
    assert made["commits"] == made["differ"]["commit"] == sorted([*known["commits"], "f" * 40])
    third = later | {"rows": more([0.7, 0.9], first=3, **LATER)["rows"]}
    assert joined(made, third)["differ"] == made["differ"], "one of the known commits"


def test_hardware_that_may_differ_is_said_with_all_its_values(
    known: dict[str, Any], more: Callable[..., dict[str, Any]]
) -> None:
    other = more([0.7], hardware=MADE_OF["hardware"] | {"cpu": "another"})  # type: ignore[operator]
    made = joined(known, other, ["cpu"])
    assert made["differ"] == {"cpu": [known["hardware"]["cpu"], "another"]}


def test_a_record_from_before_an_option_was_added_is_joined(
    known: dict[str, Any], more: Callable[..., dict[str, Any]]
) -> None:
    del known["config"]["resizing"]
    assert len(joined(known, more([0.7]))["rows"][0]["runs"]) == 3


def test_what_makes_no_row_together_is_refused(
    known: dict[str, Any], more: Callable[..., dict[str, Any]], seeds: Make, tmp_path: Path
) -> None:
    cases = [
        (
            known,
            more([0.7], "optimizer.lr=0.3"),
            r"these runs are of another recipe than mine \(optimizer.lr: 0.1 -> 0.3\)",
        ),
        (known, more([0.7], first=1), "mine has the seed 1 already; leave it out"),
        (known, more([0.7], data={"synthetic": "seed 9"}), "these runs saw other images than those of mine"),
        (known, more([0.7], packages={"torch": "9", "python": "3.99"}), r"differ from those of mine in python \("),
        (known | {"ensemble": {}}, more([0.7]), "mine has an evaluation of all its networks"),
        (known | {"rows": known["rows"] * 2}, more([0.7]), "mine compares rows"),
    ]
    for one, other, line in cases:
        with pytest.raises(UserError, match=f"^joins: .*{line}"):
            joined(one, other, ["torch"])
