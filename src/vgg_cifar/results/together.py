"""What the networks of a row come to together, and by several views of each image: the answers of `evaluate.py`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vgg_cifar.comparison.comparison import TEST
from vgg_cifar.comparison.runs import Run
from vgg_cifar.errors import UserError


def together(folder: Path, runs: Sequence[Run]) -> dict[str, Any]:
    """What a record keeps of an evaluation of its runs.

    Args:
        folder: that `evaluate.py run=... to=FOLDER` left.
        runs: the record's.

    Returns:
        `commit`, `accelerator` and `precision` of the evaluation; `tta`, the name of the views, None if each image was
        asked about as it is alone; `networks`, how many; top-1 accuracies: `alone` and `alone_views` of each network,
        `together` and `together_views` of their mean probabilities, where there are such.

    Raises:
        UserError: if the folder holds no evaluation, or one of other networks, of other images, or by files that no
            commit holds.
    """
    try:
        asked = json.loads((folder / "metrics.json").read_text())
    except OSError as error:
        raise UserError(f"together: {folder} holds no evaluation; evaluate.py run=... to={folder} makes it") from error
    members = asked.get("members", [asked])
    alone = [member.get(TEST) for member in members]
    recorded = [run.number_of(TEST) for run in runs]
    if sorted(map(str, alone)) != sorted(map(str, recorded)):
        raise UserError(
            f"together: {folder} is of networks with {TEST} {_listed(alone)}, the record of {_listed(recorded)}; "
            "ask all of its runs, and no others"
        )
    if asked["git"]["commit"] is None or asked["git"]["dirty"]:
        raise UserError(f"together: {folder} was made by files that no commit holds; commit them and ask again")
    several, viewed = len(members) > 1, "tta" in asked
    return {
        "commit": asked["git"]["commit"],
        "accelerator": asked["accelerator"],
        "precision": asked["precision"],
        "tta": asked["tta"]["name"] if viewed else None,
        "networks": len(members),
        "alone": alone,
        "alone_views": [member["tta"][TEST] for member in members] if viewed else None,
        "together": asked[TEST] if several else None,
        "together_views": asked["tta"][TEST] if several and viewed else None,
    }


def _listed(accuracies: Sequence[float | None]) -> str:
    return ", ".join("none" if each is None else f"{each:.4f}" for each in accuracies)
