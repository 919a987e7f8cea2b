"""The folder of a search that nobody made: trials that a formula decides, and the folders of some of its runs."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from hand_made import make_run

from vgg_cifar.comparison.search import Search

SPACE: dict[str, Any] = {
    "optimizer.lr": {"kind": "float", "low": 0.001, "high": 0.3, "log": True},
    "optimizer": {"kind": "choice", "choices": ["sgd", "adam", "rmsprop"]},
    "data.batch_size": {"kind": "int", "low": 32, "high": 512, "log": True, "step": None},
}
OBJECTIVES = {"val/top1": "maximize", "train_seconds": "minimize"}
BEST_RATES = {"sgd": 0.05, "adam": 0.003, "rmsprop": 0.004}
EPOCHS = 6


def made_up_trials(count: int, objectives: int) -> list[dict[str, Any]]:
    """Trials of `SPACE`: every seventh failed, the poor ones pruned after two epochs, the last one running."""
    draw = random.Random(0)
    found = []
    for number in range(count):
        params = {
            "optimizer.lr": 0.001 * 300 ** draw.random(),
            "optimizer": draw.choice(["sgd", "adam", "rmsprop"]),
            "data.batch_size": draw.randint(32, 512),
        }
        away = math.log(params["optimizer.lr"] / BEST_RATES[params["optimizer"]]) / 2.5
        top1 = 0.6 * math.exp(-(away**2)) + 0.02 * draw.random()
        seconds = 20 + 4000 / params["data.batch_size"] + 3 * draw.random()
        state = "failed" if number % 7 == 6 else "pruned" if top1 < 0.25 else "complete"
        state = "running" if number == count - 1 else state
        epochs = {"complete": EPOCHS, "pruned": 2, "running": 1}.get(state, 0)
        found.append(
            {
                "number": number,
                "state": state,
                "values": [top1, seconds][:objectives] if state == "complete" else None,
                "params": params,
                "intermediate": {
                    str(epoch): top1 * (1 - 0.6**epoch) / (1 - 0.6**EPOCHS) for epoch in range(1, epochs + 1)
                },
                "started": f"2026-11-26T{number // 60 % 24:02d}:{number % 60:02d}:00+00:00",
                "ended": None,
                "jobs": [str(number)],
            }
        )
    return found


def make_search(root: Path, count: int = 20, objectives: int = 1, **changes: Any) -> Search:
    """Write the folder of a sweep that was a search: `sweep.json`, `search.json` and a run for each trial.

    Args:
        root: the folder, made.
        count: of trials.
        objectives: of them, the first few of `OBJECTIVES`.
        changes: what the file says otherwise.
    """
    trials = made_up_trials(count, objectives)
    for trial in trials:
        values = trial["values"] or [next(reversed(trial["intermediate"].values()), None)]
        status = {"complete": "finished", "pruned": "interrupted"}.get(trial["state"], trial["state"])
        folder = make_run(
            root / str(trial["number"]), *(f"{key}={value}" for key, value in trial["params"].items()),
            status=status, val_top1=values[0], epochs=len(trial["intermediate"]),
            train_seconds=values[1] if len(values) > 1 else 30.0,
            error={"pruned": "stopped by SIGTERM", "failed": "diverged"}.get(trial["state"]),
        )  # fmt: skip
        folder.write_metrics(
            [
                {"step": 5 * int(epoch), "epoch": int(epoch) - 1, "val/top1": value, "train/loss": 2 - value}
                for epoch, value in trial["intermediate"].items()
            ]
        )
    jobs = [
        {"number": number, "folder": str(number), "key": f"{number:016x}", "overrides": [f"seed={number}"]}
        for number in range(count)
    ]
    command = ["python", "src/train.py", "-m", "search=tpe", "optimizer.lr=tag(log, interval(0.001, 0.3))"]
    (root / "sweep.json").write_text(json.dumps({"name": "first", "command": command, "versions": {}, "jobs": jobs}))
    content = {
        "study": "first", "objectives": dict(list(OBJECTIVES.items())[:objectives]), "space": SPACE, "sampler": "tpe",
        "pruner": "median", "seeds_per_trial": 1, "n_trials": count, "trials": trials,
        "importance": {
            name: {"optimizer.lr": 0.71, "optimizer": 0.24, "data.batch_size": 0.05}
            for name in list(OBJECTIVES)[:objectives]
        },
    }  # fmt: skip
    search = Search.model_validate(content | changes)
    search.write(root)
    return search
