"""Choices as a user writes them, in a folder of their own."""

from pathlib import Path

GLOBAL = "# @package _global_\n"
"""The first line of an experiment."""


def write_choice(folder: Path, group: str, name: str, text: str) -> list[str]:
    """A choice of the user's own, and what is typed to take it."""
    (folder / group).mkdir(parents=True, exist_ok=True)
    (folder / group / f"{name}.yaml").write_text(text)
    return ["--config-dir", str(folder), f"{group}={name}"]
