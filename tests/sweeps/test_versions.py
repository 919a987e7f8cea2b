"""What makes a sweep's numbers beside its options."""

import copy
from pathlib import Path
from typing import Any

import pytest

from vgg_cifar.sweeps import versions as module
from vgg_cifar.sweeps.versions import differences, versions


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stands for the package's source."""
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    monkeypatch.setattr(module, "git_state", lambda: {"commit": "0123456789", "dirty": False})
    (tmp_path / "runs").mkdir()
    (tmp_path / "vgg.py").write_text("layers = 16")
    (tmp_path / "runs" / "lock.py").write_text("")
    return tmp_path


def changed(**changes: Any) -> list[str]:
    then = versions(["cifar100"])
    now = copy.deepcopy(then)
    for name, value in changes.items():
        now[name] = now[name] | value if isinstance(value, dict) else value
    return list(differences(then, now))


def test_the_same_code_packages_and_images_are_the_same() -> None:
    assert list(differences(versions(["cifar100", "synthetic"]), versions(["synthetic", "cifar100"]))) == []


@pytest.mark.parametrize("change", ["edit", "add", "move", "remove"])
def test_a_changed_source_file_is_seen(package: Path, change: str) -> None:
    then = versions([])
    (package / "notes.txt").write_text("of no matter")
    assert list(differences(then, versions([]))) == []
    if change == "edit":
        (package / "vgg.py").write_text("layers = 19")
    elif change == "add":
        (package / "runs" / "new.py").write_text("")
    elif change == "move":
        (package / "vgg.py").rename(package / "runs" / "vgg.py")
    else:
        (package / "runs" / "lock.py").unlink()
    assert list(differences(then, versions([]))) == ["code: 0123456 -> 0123456"]


def test_a_changed_package_is_named_with_both_versions() -> None:
    torch = versions([])["packages"]["torch"]
    assert changed(packages={"torch": "9.9"}) == [f"torch: {torch} -> 9.9"]
    assert changed(packages={"flax": "1.0"}) == ["flax: None -> 1.0"]


def test_other_images_are_named_but_not_those_that_only_one_knows() -> None:
    before = versions(["cifar100"])["data"]["cifar100"]
    assert changed(data={"cifar100": "0" * 16}) == [f"cifar100: {before} -> {'0' * 16}"]
    assert changed(data={"cifar10": "0" * 16}) == []
    assert versions(["synthetic"])["data"] == {}


def test_commits_are_for_the_reader_alone() -> None:
    assert changed(commit="abc", dirty=True) == []
    assert changed(commit="abcdefghij", dirty=True, code="0")[0].endswith(" -> abcdefg with changes")


@pytest.mark.parametrize("stored", [{}, {"packages": 3, "data": [1]}, {"code": None, "packages": None, "data": None}])
def test_what_does_not_say_what_it_was_made_of_differs(stored: dict[str, Any]) -> None:
    found = list(differences(stored, versions(["cifar100"])))
    assert found[0].startswith("code: None -> ")
    assert found[1:] == ["packages: not recorded", "data: not recorded"]
