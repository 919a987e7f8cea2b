"""A recorded claim, put to the test: its runs trained again, and whether their means agree with the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgg_cifar import standalone
from vgg_cifar.agreement import IDENTICAL, OFF, SHARE, WITHIN_NOISE, limit_by_images
from vgg_cifar.comparison.runs import find
from vgg_cifar.comparison.statistics import Estimate, estimate
from vgg_cifar.composition import Composed, compose_and_check, in_full
from vgg_cifar.config import BESIDE_THE_POINT
from vgg_cifar.errors import DONE, FAILED, INTERRUPTED, UserError
from vgg_cifar.options import quoted
from vgg_cifar.parts import make_datamodule, make_trainer
from vgg_cifar.reporting import terminal
from vgg_cifar.reporting.formatting import change, score, spread
from vgg_cifar.reproduction import Process, changes, differences, evaluated, shown
from vgg_cifar.results.records import scores
from vgg_cifar.runs import placement
from vgg_cifar.runs.manifest import manifest

FREE = ("seed", *BESIDE_THE_POINT)
"""Options in which a rerun may differ."""
QUICKER = ("logger=csv", "evaluate=false")
"""What a rerun leaves out: it changes nothing of what is computed."""


@dataclass(frozen=True)
class Means:
    """What a row was, and what it is now.

    Attributes:
        then: the recorded accuracy.
        now: that of the new runs.
        limit: the largest difference of their means that seeds explain.
        same: whether every new run came to just what the run of its seed had.
    """

    then: Estimate
    now: Estimate
    limit: float
    same: bool

    @property
    def difference(self) -> float:
        """Of the means, now minus then."""
        return self.now.mean - self.then.mean

    @property
    def verdict(self) -> str:
        """One of those of `agreement`."""
        if self.same:
            return IDENTICAL
        return WITHIN_NOISE if abs(self.difference) <= self.limit else OFF


def judge(then: Mapping[str, float], now: Mapping[str, float], images: int | None = None) -> Means:
    """Whether two means agree.

    If nothing has changed, both are means of the same distribution. So what explains a difference is the deviation
    within both, pooled (Student's two-sample t), which one run on a side does not spoil; in 99 of 100 cases it lies
    within the limit. One run on both sides has no deviation: then it is that of two accuracies on so many independent
    images, which measures no seeds.

    Args:
        then: accuracies by seed, at least one.
        now: the same.
        images: how many images one run's accuracy is of.
    """
    from scipy.special import stdtrit

    before, after = estimate(list(then.values())), estimate(list(now.values()))
    assert before is not None
    assert after is not None
    freedom = before.n + after.n - 2
    if freedom:
        squares = sum((value - each.mean) ** 2 for each in (before, after) for value in each.values)
        error = math.sqrt(squares / freedom * (1 / before.n + 1 / after.n))
        limit = float(stdtrit(freedom, 0.5 + SHARE / 2)) * error
    else:
        limit = limit_by_images(before.mean, after.mean, images) or 0.0
    return Means(before, after, limit, all(then.get(seed) == value for seed, value in now.items()))


def rerun(record: dict[str, Any], seeds: Sequence[int], to: str | None, typed: list[str]) -> int:
    """Train the rows of a record again, and say of each whether it agrees.

    Args:
        record: see `records.record`.
        seeds: to train with; none: those recorded.
        to: the folder of the new runs, a sweep per row; one that has such goes on. None makes one in outputs/reruns/.
        typed: overrides that say where the images are.

    Returns:
        0 if all agree, 1 if one is off, a run's exit code where the runs of a row did not finish.

    Raises:
        UserError: if a row cannot be made again here: an option of it is allowed no more, or the images are others.
    """
    root = (
        Path(to).expanduser().absolute()
        if to
        else placement.OUTPUTS / "reruns" / f"{record['name']}_{placement.run_id()}"
    )
    asked = [typed_today(record, row, typed) for row in record["rows"]]
    counts = _images(record, compose_and_check(asked[0]))
    agree = True
    for number, (row, today) in enumerate(zip(record["rows"], asked, strict=True)):
        chosen = list(seeds) or [run["seed"] for run in row["runs"]]
        title = f"{record['name']}: {' '.join(row['overrides'])}".removesuffix(": ")
        folder = root / str(number)
        words = [*today, *QUICKER, f"seed={','.join(map(str, chosen))}"]
        print(f"Training {title} again, seeds {', '.join(map(str, chosen))}, in {folder}", flush=True)
        if today != [*record["overrides"], *row["overrides"], *typed]:
            print(f"As recorded, in full: {' '.join(today)}", flush=True)
        code = standalone.train(["-m", *words, f"hydra.sweep.dir={quoted(str(folder))}"])
        if code != DONE:
            after = f"to={root} goes on" if code == INTERRUPTED else "nothing was compared"
            print(f"The rerun of {title} ended with exit code {code}; {after}")
            return code
        found = judge(scores(row, record["metric"]), _scores(folder, chosen, record["metric"]), counts)
        agree &= found.verdict != OFF
        print(told(title, record["metric"], found), flush=True)
    return DONE if agree else FAILED


def told(title: str, metric: str, found: Means) -> str:
    """A line: what was recorded, what came out, and the verdict."""

    def said(each: Estimate) -> str:
        deviation = "" if each.deviation is None else f" ± {spread(each.deviation, metric)}"
        return f"{score(each.mean, metric)}{deviation} ({each.n} seed{'s' * (each.n != 1)})"

    return (
        f"{title}: {metric} {said(found.then)} recorded, {said(found.now)} now, difference "
        f"{change(found.difference, metric)}, limit {spread(found.limit, metric)}: {found.verdict}"
    )


def typed_today(record: dict[str, Any], row: dict[str, Any], typed: list[str]) -> list[str]:
    """The overrides that make a row's configuration: those of then, or all of it where they make another one today.

    Args:
        record: see `records.record`.
        row: one of its rows.
        typed: overrides to be put after all others.

    Raises:
        UserError: if there are none: an option or a value is allowed no more.
    """
    stored, then = record["config"] | row["config"], [*record["overrides"], *row["overrides"], *typed]
    try:
        if not _changed(stored, then):
            return then
    except UserError:  # its recipe has become one that the other words do not fit
        pass
    full = [*in_full(stored), *typed]
    try:
        changed = "; ".join(_changed(stored, full)[:3])
    except UserError as error:
        changed = str(error)
    if changed:
        raise UserError(
            f"record: {record['name']} cannot be made any more ({changed}); take the commit that it was made with, "
            f"{record['commits'][-1][:10]}"
        )
    return full


def _changed(stored: dict[str, Any], words: list[str]) -> list[str]:
    """What is not as it was in the configuration that these overrides make."""
    raw = compose_and_check(words).raw
    return [f"{shown(key)}: {shown(old)} -> {shown(new)}" for key, old, new in changes(stored, raw, *FREE)]


def _images(record: dict[str, Any], composed: Composed) -> int:
    """How many images the accuracy is of; refuses other images, and says what else is not as it was."""
    config = composed.config
    datamodule = make_datamodule(config)
    hashes = datamodule.dataset.hashes
    different = sorted(
        file for file in hashes.keys() | record["data"].keys() if hashes.get(file) != record["data"].get(file)
    )
    if different:
        raise UserError(f"record: {record['name']} saw other images: the checksums of {', '.join(different)} differ")
    _, chosen = make_trainer(config, [], [])
    now = Process(**manifest([], config.seed, hashes, chosen))
    code = {"commit": record["commits"][-1], "dirty": False}
    then = Process(git=code, packages=record["packages"], hardware=record["hardware"])
    terminal.circumstances(f"Making {record['name']} again", list(differences(then, now)), [])
    split = record["metric"].partition("/")[0]
    return evaluated(config, datamodule, chosen["ranks"])[split]


def _scores(folder: Path, seeds: Sequence[int], metric: str) -> dict[str, float]:
    """The metric by seed of the finished runs in a folder."""
    found = {run.raw["seed"]: run.number_of(metric) for run in find([folder])[0] if run.finished}
    return {str(seed): value for seed in seeds if (value := found.get(seed)) is not None}
