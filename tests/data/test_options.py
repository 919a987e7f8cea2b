"""The `data` group: where files are looked for, when the network may be used, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import TypeAdapter, ValidationError

from vgg_cifar.choices import CONF
from vgg_cifar.data import files
from vgg_cifar.data.options import PROJECT, DataOptions
from vgg_cifar.data.sources import SOURCES
from vgg_cifar.errors import UserError

FILES = ["cifar100", "cifar10"]
OWN = PROJECT / "data"


@pytest.fixture(autouse=True)
def no_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's environment names no folder."""
    for name in ("CIFAR100_ROOT", "CIFAR10_ROOT"):
        monkeypatch.delenv(name, raising=False)


def options(choice: str, **changes: Any) -> Any:
    """A shipped choice with some options changed."""
    shipped = yaml.safe_load((CONF / "data" / f"{choice}.yaml").read_text())
    return TypeAdapter(DataOptions).validate_python(shipped | changes)


@pytest.mark.parametrize("name", FILES)
def test_without_a_root_the_files_are_looked_for_in_the_projects_own_folder(name: str) -> None:
    assert options(name).folder() == OWN


@pytest.mark.parametrize("name", FILES)
def test_the_environment_names_a_root_for_its_own_data_set_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(f"{name.upper()}_ROOT", str(tmp_path))
    assert options(name).folder() == tmp_path
    (other,) = set(FILES) - {name}
    assert options(other).folder() == OWN


def test_a_root_that_was_typed_comes_before_the_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CIFAR100_ROOT", str(tmp_path / "environment"))
    assert options("cifar100", root=str(tmp_path / "typed")).folder() == tmp_path / "typed"


@pytest.mark.parametrize("name", FILES)
def test_where_files_are_missing_it_says_whose_folder_that_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    variable = f"{name.upper()}_ROOT"
    monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(UserError, match=rf" in {tmp_path}, which \${variable} names;"):
        options(name).refuse_missing_files()
    other = tmp_path / "other"
    with pytest.raises(UserError, match=f" in {other};") as typed:
        options(name, root=str(other)).refuse_missing_files()
    assert variable not in str(typed.value)


def test_the_data_sets_own_folder_is_told_from_the_one_that_holds_it(tmp_path: Path) -> None:
    source = SOURCES["cifar100"]
    own = tmp_path / source.folder
    own.mkdir()
    for file in source.files:
        (own / file).touch()
    with pytest.raises(UserError, match=f"{own} is the images' own folder; name the one that holds it, {tmp_path}$"):
        options("cifar100", root=str(own)).refuse_missing_files()
    options("cifar100", root=str(tmp_path)).refuse_missing_files()


def test_a_root_may_be_relative_or_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert options("cifar100", root="images").folder() == tmp_path / "images"
    assert options("cifar100", root="~/images").folder() == tmp_path / "home" / "images"


@pytest.mark.parametrize("name", FILES)
def test_only_into_the_projects_own_folder_is_downloaded_unasked(name: str, tmp_path: Path) -> None:
    assert options(name).may_download()
    assert options(name, root=str(OWN)).may_download()
    assert not options(name, root=str(tmp_path)).may_download()


@pytest.mark.parametrize("allowed", [True, False])
def test_who_says_whether_to_download_is_obeyed(tmp_path: Path, allowed: bool) -> None:
    assert options("cifar100", download=allowed).may_download() is allowed
    assert options("cifar100", download=allowed, root=str(tmp_path)).may_download() is allowed


@pytest.mark.parametrize("name", FILES)
def test_loading_reads_the_named_data_set_from_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(files, "load", lambda *what, **how: asked.append((what, how)))
    options(name, root=str(tmp_path)).load()
    assert asked == [((name, tmp_path), {"download": False})]


def test_synthetic_images_come_in_the_numbers_asked_for_and_from_their_own_seed() -> None:
    def load(**changes: Any) -> torch.Tensor:
        dataset = options("synthetic", train_size=120, test_size=110, **changes).load()
        assert (len(dataset.train), len(dataset.test)) == (120, 110)
        return dataset.train.images

    assert torch.equal(load(seed=1), load(seed=1))
    assert not torch.equal(load(seed=1), load(seed=2))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cifar100", {"batch_size": 0}),
        ("cifar100", {"eval_batch_size": -1}),
        ("cifar100", {"val_fraction": 1.0}),
        ("cifar100", {"val_fraction": -0.1}),
        ("cifar100", {"train_size": 0}),
        ("cifar100", {"mean": [0.5, 0.5]}),
        ("cifar100", {"std": [0.5, 0.5, 0.0]}),
        ("cifar10", {"root": 3}),
        ("cifar10", {"download": "yes"}),
        ("synthetic", {"train_size": None}),
        ("synthetic", {"root": "/data"}),
        ("synthetic", {"name": "mnist"}),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(name, **change)


@pytest.mark.parametrize(
    "change", [{"val_fraction": 0}, {"val_fraction": 0.0}, {"train_size": 1}, {"batch_size": 1}], ids=str
)
def test_what_lies_at_the_edge_is_taken_as_it_is(change: dict[str, Any]) -> None:
    assert options("cifar100", **change).model_dump().items() >= change.items()
