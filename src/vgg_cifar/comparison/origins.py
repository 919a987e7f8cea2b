"""What runs were made of, and whether that was the same for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vgg_cifar.comparison.runs import Run
from vgg_cifar.options import flat, spelled

HARDWARE = ("cpu", "threads", "gpus", "accelerator", "precision", "ranks")
"""What can change a result or a time; the rest of a manifest's hardware says little."""
UNKNOWN = "not known"


@dataclass(frozen=True)
class Origin:
    """One thing that runs are made of.

    Attributes:
        kind: "code", "packages", "hardware" or "data".
        what: its name.
        values: what it was, with the numbers of the runs for which it was so, the most frequent first.
    """

    kind: str
    what: str
    values: dict[str, tuple[int, ...]]

    @property
    def same(self) -> bool:
        """Whether it was the same for all runs that say."""
        return len(self.values) == 1


def origins(runs: Sequence[Run]) -> list[Origin]:
    """What the runs that have numbers were made of, from their manifests."""
    found: dict[tuple[str, str], dict[str, list[int]]] = {}
    for run in runs:
        if run.finished:
            for kind, what, value in sorted(set(_of(run))):
                found.setdefault((kind, what), {}).setdefault(value, []).append(run.number)
    made = []
    for kind in ("code", "packages", "hardware", "data"):
        for (of_kind, what), values in found.items():
            if of_kind == kind:
                often = sorted(values.items(), key=lambda item: -len(item[1]))
                made.append(Origin(kind, what, {value: tuple(numbers) for value, numbers in often}))
    return made


def _of(run: Run) -> Iterator[tuple[str, str, str]]:
    """Kind, name and value of everything that a run's processes say they were made of."""
    for process in run.processes() or [{}]:
        git, hardware = _dict(process.get("git")), _dict(process.get("hardware"))
        yield "code", "commit", said(git.get("commit"))
        yield (
            "code",
            "files that differ from it",
            "yes" if git.get("dirty") is True else "no" if git.get("dirty") is False else UNKNOWN,
        )
        for name, version in _dict(process.get("packages")).items():
            yield "packages", name, said(version)
        for name in HARDWARE:
            if name in hardware:
                yield "hardware", name, said(hardware[name])
    for name, checksum in flat(_dict(run.manifest.get("data"))).items():
        yield "data", str(name), said(checksum)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def said(value: Any) -> str:
    """What is written of something that a run was made of."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return UNKNOWN if value is None else spelled(value)
