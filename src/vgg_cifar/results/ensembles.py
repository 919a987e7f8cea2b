"""What the networks of a row come to as an ensemble, and by test-time augmentation: the answers of `evaluate.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vgg_cifar.comparison.comparison import TEST
from vgg_cifar.comparison.runs import Run
from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import read_json


def ensemble(folder: Path, runs: Sequence[Run]) -> dict[str, Any]:
    """What a record keeps of an evaluation of its runs.

    Args:
        folder: that `evaluate.py run=... tta=... to=FOLDER` left.
        runs: the record's.

    Returns:
        `commit`, `accelerator` and `precision` of the evaluation, and `tta`, the name of the views. Top-1 accuracies:
        `single` and `single_tta` of each network, in the order of the runs; `ensemble` and `ensemble_tta` of their mean
        probabilities. What was not asked is None.

    Raises:
        UserError: if the folder holds no evaluation, or one of other networks, of one network without views, or by
            files that no commit holds.
    """
    asked = read_json(folder / "metrics.json")
    if not asked:
        raise UserError(f"ensemble: {folder} holds no evaluation; evaluate.py run=... tta=flip to={folder} makes it")
    try:
        return _kept(folder, asked, runs)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"ensemble: {folder / 'metrics.json'} is damaged, or of an older evaluate.py; ask again"
        ) from error


def _kept(folder: Path, asked: dict[str, Any], runs: Sequence[Run]) -> dict[str, Any]:
    git, several, viewed = asked["git"], "members" in asked, "tta" in asked
    if not git["commit"] or git["dirty"] is not False:
        raise UserError(f"ensemble: {folder} was made by files that no commit holds; commit them and ask again")
    if not (several or viewed):
        raise UserError(f"ensemble: {folder} is of one network without views; ask with tta=flip, or several runs")
    there = len(asked["members"]) if several else 1
    if there != len(runs):
        raise UserError(
            f"ensemble: {folder} is an evaluation of {there}, the record is of {len(runs)}; evaluate just its runs"
        )
    members = _in_order(folder, asked["members"] if several else [asked], runs)
    return {
        "commit": git["commit"],
        "accelerator": asked["accelerator"],
        "precision": asked["precision"],
        "tta": asked["tta"]["name"] if viewed else None,
        "single": [member[TEST] for member in members],
        "single_tta": [member["tta"][TEST] for member in members] if viewed else None,
        "ensemble": asked[TEST] if several else None,
        "ensemble_tta": asked["tta"][TEST] if several and viewed else None,
    }


def _in_order(folder: Path, members: list[dict[str, Any]], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The member that each run is, known by what both found of the test images."""
    numbers = (TEST, "test/top5", "test/superclass_top1")
    left, found = list(members), []
    for run in runs:
        its = [member for member in left if all(member.get(name) == run.result.get(name) for name in numbers)]
        if its:
            found.append(its[0])
            left.remove(its[0])
    if left:
        there, here = _listed(members), _listed([run.result for run in runs])
        raise UserError(
            f"ensemble: {folder} has networks with {TEST} {there}, the record {here}; evaluate its runs, "
            "on the kind of machine that they ran on"
        )
    return found


def _listed(results: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{each[TEST]:.4f}" for each in results)
