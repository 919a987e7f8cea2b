"""What makes a sweep's numbers beside its options: code, packages and images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vgg_cifar.data.sources import SOURCES
from vgg_cifar.runs.manifest import git_state, packages

PACKAGE = Path(__file__).resolve().parents[1]


def versions(datasets: Iterable[str]) -> dict[str, Any]:
    """Describe what would run now.

    Args:
        datasets: names of data sets; of those that are files, checksums are given.

    Returns:
        `commit` and `dirty` for a reader; `code`, a hash of the package's source, which is the same for two commits
        that differ in other files, and another for files that no commit holds; `packages` and `data` by name.
    """
    code = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        code.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes() + b"\0")
    return {
        **git_state(),
        "code": code.hexdigest()[:16],
        "packages": packages(),
        "data": {name: _digest(SOURCES[name].files) for name in sorted(set(datasets)) if name in SOURCES},
    }


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]


def differences(then: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What is not the same, a few words each; images that only one of them knows are not compared."""
    if then.get("code") != now["code"]:
        yield f"code: {_commit(then)} -> {_commit(now)}"
    for part in ("packages", "data"):
        before, after = then.get(part), now[part]
        if not isinstance(before, dict):
            yield f"{part}: not recorded"
            continue
        for name, version in after.items():
            if before.get(name, None if part == "packages" else version) != version:
                yield f"{name}: {before.get(name)} -> {version}"


def _commit(version: dict[str, Any]) -> str:
    return str(version.get("commit"))[:7] + (" with changes" if version.get("dirty") else "")
