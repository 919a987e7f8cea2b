"""`search.json`: written and read again the same; anything else is told in a line that says where."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vgg_cifar.comparison.search import FILE, Search
from vgg_cifar.errors import UserError

CONTENT: dict[str, Any] = {
    "study": "first",
    "objectives": {"val/top1": "maximize", "train_seconds": "minimize"},
    "space": {
        "optimizer.lr": {"kind": "float", "low": 0.001, "high": 0.3, "log": True},
        "data.batch_size": {"kind": "int", "low": 32, "high": 512, "log": True, "step": None},
        "optimizer": {"kind": "choice", "choices": ["sgd", "adam", 3, 0.5, True, None]},
    },
    "sampler": "tpe",
    "pruner": None,
    "seeds_per_trial": 1,
    "n_trials": 40,
    "importance": {"val/top1": {"optimizer.lr": 0.8, "optimizer": 0.2}},
    "trials": [
        {
            "number": 0,
            "state": "complete",
            "values": [0.31, 12.0],
            "params": {"optimizer.lr": 0.01, "optimizer": "sgd"},
            "intermediate": {"1": 0.1, "2": 0.2},
            "started": "2026-11-26T12:00:00+00:00",
            "ended": None,
            "jobs": ["0", "7"],
        },
        {"number": 1, "state": "waiting", "values": None, "params": {}, "intermediate": {}},
    ],
}


def changed(*place: Any, to: Any) -> str:
    """The file with one thing changed."""
    content = json.loads(json.dumps(CONTENT))
    here = content
    for each in place[:-1]:
        here = here[each]
    here[place[-1]] = to
    return json.dumps(content)


def test_what_is_written_is_read_again_the_same(tmp_path: Path) -> None:
    assert Search.read(tmp_path) is None
    (tmp_path / FILE).write_text(json.dumps(CONTENT))
    first = Search.read(tmp_path)
    assert first is not None
    assert list(first.objectives) == ["val/top1", "train_seconds"]
    assert first.trials[0].intermediate == {1: 0.1, 2: 0.2}
    first.write(tmp_path)
    assert Search.read(tmp_path) == first
    assert json.loads((tmp_path / FILE).read_text())["trials"][0] == CONTENT["trials"][0]


def test_an_option_keeps_the_kind_of_its_value(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(CONTENT))
    found = Search.read(tmp_path)
    assert found is not None
    choices = found.space["optimizer"].model_dump()["choices"]
    assert [type(each) for each in choices] == [str, str, int, float, bool, type(None)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "cannot be read"),
        ("[1]", "damaged: study: Field required"),
        ("[" * 100_000, "cannot be read"),
        (changed("trials", 0, "values", to=[0.1, "x"]), "damaged: trials.0.values.1: Input should be a valid number"),
        (changed("trials", 0, "values", to=[0.1]), "trials: 0 has not a value for each objective"),
        (changed("trials", 0, "values", to=None), "trials: 0 is complete and has no values"),
        (changed("trials", 0, "values", to=[0.1, float("nan")]), "trials.0.values.1: "),
        (changed("trials", 0, "values", to=[0.1, 10**400]), "trials.0.values.1: "),
        (changed("trials", 0, "state", to="done"), "trials.0.state: Input should be 'complete', 'pruned'"),
        (changed("trials", 1, "number", to=0), "trials: two have the same number"),
        (changed("trials", 0, "started", to="noon"), "trials.0.started: "),
        (changed("trials", 0, "params", to={"x" * 201: 1}), "trials.0.params."),
        (changed("trials", 0, "params", to={"x": [1]}), "trials.0.params.x."),
        (changed("trials", 0, "intermediate", to={"one": 1}), "trials.0.intermediate.one."),
        (changed("trials", to=[CONTENT["trials"][0]] * 10_001), "trials: List should have at most 10000 items"),
        (changed("objectives", to={}), "objectives: "),
        (changed("objectives", to={"test/top1": "maximize", "a": "minimize"}), "nothing is chosen by the test set"),
        (changed("objectives", "val/top1", to="up"), "objectives.val/top1: Input should be 'maximize' or 'minimize'"),
        (changed("importance", to={"val/top5": {}}), "importance: there is no objective val/top5"),
        (changed("importance", "val/top1", "optimizer", to=1.5), "importance.val/top1.optimizer: "),
        (changed("space", "optimizer.lr", "kind", to="real"), "space.optimizer.lr: "),
        (changed("space", "optimizer.lr", "low", to=0.0), "a logarithmic range begins above 0"),
        (changed("space", "optimizer.lr", "low", to=0.5), "low is above high"),
        (changed("space", "optimizer", "choices", to=[]), "space.optimizer.choice.choices: "),
        (changed("space", to={"\x1b[2J\n<b>": {}}), "space.\\x1b[2J\\n<b>: "),
        (changed("study", to="\ud800"), "damaged: study: "),
        (changed("study", to="x" * 2000), "study: String should have at most 1000 characters"),
    ],
)
def test_a_damaged_file_is_one_line_that_says_where(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError) as said:
        Search.read(tmp_path)
    assert str(tmp_path / FILE) in str(said.value)
    assert words in str(said.value)
    assert str(said.value).isprintable()
    assert len(str(said.value)) < 1000


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "huge"])
def test_what_is_no_file_of_a_search_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / FILE
    if kind == "link":
        (tmp_path / "elsewhere").write_text(json.dumps(CONTENT))
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("w") as file:
            file.truncate(2**40)
    with pytest.raises(UserError, match=FILE):
        Search.read(tmp_path)


def test_the_file_can_be_written_without_heavy_libraries() -> None:
    heavy = "{'torch', 'lightning', 'optuna', 'plotly', 'torchvision'}"
    code = f"import sys, vgg_cifar.comparison.search; sys.exit(str({heavy} & set(sys.modules) or ''))"
    where = os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    done = subprocess.run([sys.executable, "-c", code], env=where, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
