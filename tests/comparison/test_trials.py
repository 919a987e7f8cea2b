"""What a search came to: the best trials, the front, and runs that were pruned."""

from pathlib import Path
from typing import Any

import pytest
from hand_made import make_run
from made_up_search import make_search

from vgg_cifar.comparison import compare, trials
from vgg_cifar.comparison.search import FILE, Search
from vgg_cifar.errors import UserError


def search(values: list[Any], **objectives: str) -> Search:
    """A search whose trials have these values, or these states."""
    tried = [
        {"number": number, "state": each, "params": {}}
        if isinstance(each, str)
        else {"number": number, "state": "complete", "values": each, "params": {}}
        for number, each in enumerate(values)
    ]
    return Search.model_validate(
        {"study": "s", "objectives": objectives, "space": {}, "sampler": "random", "pruner": None, "n_trials": 9}
        | {"trials": tried}
    )


def numbers(found: list[Any]) -> list[int]:
    return [trial.number for trial in found]


def test_the_best_are_first_whichever_direction_is_better() -> None:
    values = [[0.2], "pruned", [0.5], "failed", [0.1], [0.5]]
    assert numbers(trials.best_first(search(values, a="maximize"))) == [2, 5, 0, 4], "of equals the earlier"
    assert numbers(trials.best_first(search(values, a="minimize"))) == [4, 0, 2, 5]
    both = search([[0.5, 2.0], [0.5, 1.0]], a="maximize", b="minimize")
    assert numbers(trials.best_first(both)) == [1, 0], "of equals that which is better otherwise"


def test_the_best_so_far_only_gets_better() -> None:
    values = [[3.0], [2.0], "pruned", [4.0], [4.0], [1.0]]
    assert numbers(trials.improvements(search(values, a="maximize"))) == [0, 3]
    assert numbers(trials.improvements(search(values, a="minimize"))) == [0, 1, 5]


def test_the_front_holds_what_no_trial_beats_in_both() -> None:
    values = [[0.5, 9.0], [0.4, 5.0], [0.3, 7.0], "failed", [0.5, 12.0], [0.1, 1.0], [0.4, 5.0]]
    assert numbers(trials.front(search(values, a="maximize", b="minimize"))) == [0, 1, 5]
    assert numbers(trials.front(search(values, a="minimize", b="maximize"))) == [5, 2, 4]
    assert numbers(trials.leaders(search(values, a="maximize", b="minimize"))) == [0, 1, 5]


@pytest.mark.parametrize("values", [[], ["pruned", "failed", "running", "waiting"]])
def test_a_search_without_a_complete_trial_has_no_best(values: list[Any]) -> None:
    found = search(values, a="maximize", b="minimize")
    assert trials.leaders(found) == trials.improvements(found, 1) == []


def test_a_run_that_its_search_stopped_is_pruned_and_no_failure(tmp_path: Path) -> None:
    made = make_search(tmp_path / "search")
    found = compare([tmp_path / "search"])
    assert found.search == made
    assert found.metric == found.order == "val/top1"
    assert "test/top1" not in found.metrics
    pruned = {trial.jobs[0] for trial in made.trials if trial.state == "pruned"}
    assert {run.folder.path.name for run in found.runs if run.status == "pruned"} == pruned != set()
    assert not any(run.status == "pruned" for run in found.unfinished)
    assert not any("pruned" in note or "single seed" in note for note in found.notes)
    (note,) = [note for note in found.notes if "failed" in note]
    assert "interrupted" in note, "the last one is not pruned: somebody stopped it"


def test_beside_other_runs_a_search_has_no_part_of_its_own_but_its_pruned_runs_are_named(tmp_path: Path) -> None:
    make_search(tmp_path / "search")
    make_run(tmp_path / "another", test_top1=0.5)
    found = compare([tmp_path])
    assert (found.search, found.metric) == (None, "test/top1")
    assert found.states["pruned"] > 0


def test_runs_that_are_not_here_belong_to_another_machine(tmp_path: Path) -> None:
    made = make_search(tmp_path / "search", count=8)
    moved = made.model_copy(update={"trials": [made.trials[0].model_copy(update={"jobs": ["0", "../x", "99"]})]})
    moved.write(tmp_path / "search")
    found = compare([tmp_path / "search"])
    assert [run.folder.path.name for run in found.tried[0]] == ["0"]


def test_a_damaged_file_is_told_and_leaves_the_runs_as_they_are(tmp_path: Path) -> None:
    make_search(tmp_path / "search", count=8)
    (tmp_path / "search" / FILE).write_text("{}")
    found = compare([tmp_path / "search"])
    assert (found.search, found.metric) == (None, "val/top1")
    assert any(f"{FILE} is damaged: study: Field required" in note for note in found.notes)
    assert len(found.runs) == 8


def test_of_several_seeds_groups_are_compared_too(tmp_path: Path) -> None:
    make_search(tmp_path / "search", count=8, seeds_per_trial=2)
    assert compare([tmp_path / "search"]).in_groups


def test_a_metric_that_is_asked_for_is_still_refused_where_no_run_has_it(tmp_path: Path) -> None:
    make_search(tmp_path / "search", count=8)
    with pytest.raises(UserError, match="metric: no finished run has test/top1"):
        compare([tmp_path / "search"], metric="test/top1")
