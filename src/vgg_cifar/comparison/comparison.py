"""Runs put beside each other: the one place where the parts of a comparison come together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vgg_cifar.comparison.curves import Curve, curves
from vgg_cifar.comparison.effects import Effect, effects
from vgg_cifar.comparison.groups import Group, against, baseline, grouped
from vgg_cifar.comparison.options import differing
from vgg_cifar.comparison.origins import Origin, origins
from vgg_cifar.comparison.runs import DAMAGED, FINISHED, Run, Sweep, find
from vgg_cifar.comparison.search import Search
from vgg_cifar.comparison.trials import PRUNED, runs_of, searches, told_apart
from vgg_cifar.errors import UserError
from vgg_cifar.options import did_you_mean

VALIDATION, TEST = "val/top1", "test/top1"
MOST_CURVES = 8
"""Groups whose learning curves are read: more lines than that say nothing in one picture."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        metric: what groups are compared by.
        order: the metric by which groups are put in order: val/top1 where a run has it, so that nobody who takes the
            first row has chosen by the test set.
        keys: of the options that differ, the seed left out.
        runs: all of them.
        groups: in order, those without the metric last.
        base: the group that the others are compared with; None where there is none.
        effects: of each option.
        curves: by the number of a group, of the first `MOST_CURVES`; none where a search tells those of all its trials.
        origins: what the runs were made of.
        sweeps: those that the runs belong to.
        search: what made the runs, where they are all of one search.
        tried: the runs of each of its trials, by the trial's number.
        notes: what a reader should be warned of, a line each.
    """

    metric: str
    order: str
    keys: list[str]
    runs: list[Run]
    groups: list[Group]
    base: Group | None
    effects: list[Effect]
    curves: dict[int, dict[str, Curve]]
    origins: list[Origin]
    sweeps: list[Sweep]
    search: Search | None
    tried: dict[int, list[Run]]
    notes: list[str]

    @property
    def metrics(self) -> list[str]:
        """Those of the table: what puts it in order, test, and what was asked for.

        Of a search, its objectives instead of test: who looks at many trials is about to choose.
        """
        others = [TEST] if self.search is None else [name for name in self.search.objectives if "/" in name]
        return list(dict.fromkeys([self.order, *others, self.metric]))

    @property
    def in_groups(self) -> bool:
        """Whether groups are worth comparing: the trials of a search that takes one seed each are all different."""
        return self.search is None or self.search.seeds_per_trial > 1

    @property
    def states(self) -> dict[str, int]:
        """How many runs are finished, running, failed, ..."""
        return dict(Counter(run.status for run in self.runs))

    @property
    def unfinished(self) -> list[Run]:
        """The runs that do not count, without those that a search has stopped."""
        return [run for run in self.runs if not run.finished and run.status != PRUNED]


def compare(sources: Sequence[Path], asked: str | None = None, metric: str | None = None) -> Comparison:
    """Compare the runs in some folders.

    Args:
        sources: folders that hold runs at any depth, or are runs.
        asked: for the baseline, see `groups.baseline`.
        metric: a final metric of `result.json`; None is test/top1, of a search its first objective, or what there is.

    Raises:
        UserError: if there is no run, no such metric, or not one such baseline.
    """
    runs, sweeps = find(sources)
    searched, faults = searches(sweeps)
    runs = told_apart(runs, searched)
    folder, search = _only(searched, runs)
    finished = [run for run in runs if run.finished]
    known = sorted({name for run in finished for name in run.metrics() if "/" in name})
    metric = metric or _main(search, known)
    if finished and metric not in known:
        raise UserError(f"metric: no finished run has {metric}, only {', '.join(known)}{did_you_mean(metric, known)}")
    keys = differing(runs)
    groups = grouped(runs, keys, [VALIDATION, TEST, metric])
    order = VALIDATION if any(VALIDATION in group.scores for group in groups) else metric
    base = baseline(groups, asked)
    groups = sorted(against(groups, base, metric), key=lambda group: _place(group, order))
    base = next((group for group in groups if base is not None and group.number == base.number), None)
    made = origins(runs)
    single = search is not None and search.seeds_per_trial == 1
    has_courses = search is not None and any(trial.intermediate for trial in search.trials)
    drawn = {group.number: curves(group) for group in groups[:MOST_CURVES] if not (single and has_courses)}
    notes = [
        *faults,
        *_notes(runs, groups, made, single=single),
        *(fault for _, unread in drawn.values() for fault in unread),
    ]
    return Comparison(
        metric,
        order,
        keys,
        runs,
        groups,
        base,
        effects(groups, keys, base, metric),
        {number: found for number, (found, _) in drawn.items()},
        made,
        sweeps,
        search,
        runs_of(search, folder, runs) if search is not None else {},
        notes,
    )


def _only(searched: Mapping[Path, Search], runs: Sequence[Run]) -> tuple[Path, Search | None]:
    """The one search that all runs are of, and its folder."""
    for folder, search in searched.items():
        if all(run.folder.path.is_relative_to(folder) for run in runs):
            return folder, search
    return Path(), None


def _main(search: Search | None, known: Sequence[str]) -> str:
    """What to compare by when nobody says."""
    first = search.objectives if search is not None else (TEST,)
    return next((name for name in (*first, VALIDATION, TEST, *known) if name in known), TEST)


def is_loss(metric: str) -> bool:
    """Whether less of it is better, and it is no share to be shown in percent."""
    return metric.endswith("loss")


def _place(group: Group, order: str) -> tuple[bool, float, int]:
    score = group.scores.get(order)
    if score is None:
        return True, 0.0, group.number
    return False, score.mean if is_loss(order) else -score.mean, group.number


def _notes(runs: Sequence[Run], groups: Sequence[Group], made: Sequence[Origin], *, single: bool) -> Iterator[str]:
    """What makes numbers less than they look; `single` if no group is meant to have more than one seed."""
    for kind in dict.fromkeys(origin.kind for origin in made if not origin.same):
        names = [origin.what for origin in made if origin.kind == kind and not origin.same]
        told = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        yield f"Not all runs had the same {kind} ({told}); what differs is below, under what they were made of."
    if any("yes" in origin.values for origin in made if origin.what.startswith("files that differ")):
        yield "Some runs were made by files that no commit holds: they cannot be made again from the commit alone."
    repeated = sum(sum(run.finished for run in group.runs) - len(group.counted) for group in groups)
    if repeated:
        yield f"{repeated} finished {_runs(repeated)} a seed of the same group; the first of each seed counts."
    if not single and any(len(group.counted) == 1 for group in groups):
        yield "Groups of a single seed have no interval: how far another seed would lie from theirs was not measured."
    budgets = sorted({epochs for run in runs if run.finished and (epochs := run.number_of("epochs")) is not None})
    if len(budgets) > 1:
        yield f"Runs trained for different numbers of epochs ({', '.join(f'{each:.0f}' for each in budgets[:6])})."
    reads = max((run.number_of("test_reads") or 0 for run in runs if run.finished), default=0)
    if reads > 1:
        yield f"The test set was read up to {reads:.0f} times by one run, for its chart or as it went on."
    left = Counter(run.status for run in runs if run.status not in (FINISHED, PRUNED))
    if left:
        told = ", ".join(f"{count} {status}" for status, count in left.items())
        yield f"Of {len(runs)} runs, {told}: no mean holds what is not finished."
    if left[DAMAGED]:
        yield "A damaged folder is read as far as it goes, and counts nowhere."


def _runs(count: int) -> str:
    return "run repeats" if count == 1 else "runs repeat"
