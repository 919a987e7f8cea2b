"""TensorBoard's HPARAMS page over several runs, as its own server tells it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from vgg_cifar import training
from vgg_cifar.composition import default_options
from vgg_cifar.errors import Interrupted
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.hyperparameters import columns

Train = Callable[..., RunFolder]


def page(logdir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns of the page over a folder, and its rows, each by its name."""
    events = EventMultiplexer()
    events.AddRunsFromDirectory(str(logdir))
    events.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(events, str(logdir))))
    said = context.hparams_metadata(RequestContext(), "")
    options = context.hparams_from_data_provider(RequestContext(), "", 0)
    experiment = context.experiment_from_metadata(RequestContext(), "", True, said, options)
    request = api_pb2.ListSessionGroupsRequest(slice_size=100, allowed_statuses=api_pb2.Status.values())
    rows = list_session_groups.Handler(RequestContext(), context, "", request).run().session_groups
    return {each.name: each for each in experiment.hparam_infos}, {each.name: each for each in rows}


def value(row: Any, column: str) -> Any:
    kind = row.hparams[column].WhichOneof("kind") if column in row.hparams else None
    return kind and getattr(row.hparams[column], kind)


def status(row: Any) -> str:
    (session,) = row.sessions
    return api_pb2.Status.Name(session.status)


def metrics(row: Any) -> dict[str, float]:
    return {each.name.tag: each.value for each in row.metric_values}


def test_runs_of_a_sweep_are_rows_with_what_was_typed_and_what_came_out(train: Train, tmp_path: Path) -> None:
    board = ("logger=tensorboard", "trainer.max_epochs=1")
    folders = [
        train(*board, "optimizer=adam", "weight_decay=none", "data.val_fraction=0", to="sweep/0"),
        train(*board, "seed=3", "schedule.warmup=0.5", to="sweep/1"),
        train(*board, "augmentation.flip=false", "tags=[good,old]", to="sweep/2"),
    ]
    found, rows = page(tmp_path / "sweep")
    typed: dict[str, list[Any]] = {
        "optimizer": ["adam", "sgd", "sgd"],
        "weight_decay": ["none", "standard", "standard"],
        "weight_decay.value": [None, 0.0005, 0.0005],
        "data.val_fraction": [0, 0.1, 0.1],
        "seed": [0, 3, 0],
        "schedule.warmup": [default_options()["schedule.warmup"], 0.5, default_options()["schedule.warmup"]],
        "augmentation.flip": [True, True, False],
        "tags": [None, None, "good old"],
    }
    assert list(rows) == [f"{number}/tensorboard" for number in range(3)]
    assert {column: [value(row, column) for row in rows.values()] for column in typed} == typed
    differing = {column for column, info in found.items() if info.differs}
    assert typed.keys() - {"weight_decay.value", "tags"} <= differing
    numbers = ("seed", "schedule.warmup", "weight_decay.value", "data.val_fraction")
    assert {found[column].type for column in numbers} == {api_pb2.DATA_TYPE_FLOAT64}
    assert found["augmentation.flip"].type == api_pb2.DATA_TYPE_BOOL
    for row, folder in zip(rows.values(), folders, strict=True):
        result = folder.read_result()
        assert status(row) == "STATUS_SUCCESS"
        scalars = {name: value for name, value in metrics(row).items() if name in result}
        assert {"test/top1", "test/loss", "train/loss", "images_per_second"} <= scalars.keys()
        assert ("val/top1" in scalars) == ("val/top1" in result)
        names = scalars.keys() - {"images_per_second"}
        assert {name: scalars[name] for name in names} == pytest.approx({name: result[name] for name in names})


def test_a_run_that_goes_on_is_one_row_with_what_it_came_to(train: Train, tmp_path: Path) -> None:
    folder = train("logger=tensorboard", "trainer.max_epochs=1", to="runs/a")
    before = metrics(page(tmp_path / "runs")[1]["a/tensorboard"])
    train("logger=tensorboard", "trainer.max_epochs=2", f"resume={folder.path}", to="runs/a")
    (row,) = page(tmp_path / "runs")[1].values()
    assert (value(row, "trainer.max_epochs"), status(row)) == (2, "STATUS_SUCCESS")
    assert metrics(row)["train/loss"] == pytest.approx(folder.read_result()["train/loss"]) != before["train/loss"]


def test_how_a_run_ended_is_said_once_it_has_and_forgotten_when_it_goes_on(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []

    class Ender(Callback):
        def on_train_batch_start(self, *_: object) -> None:
            seen.append(status(page(tmp_path / "runs")[1]["a/tensorboard"]))
            raise ends.pop(0)

    ends = [ValueError("cursed"), Interrupted("SIGTERM")]
    original = training._Run._callbacks
    monkeypatch.setattr(training._Run, "_callbacks", lambda *args: [Ender(), *original(*args)])
    folder = train("logger=tensorboard", to="runs/a", code=1)
    after = [status(page(tmp_path / "runs")[1]["a/tensorboard"])]
    train("logger=tensorboard", f"resume={folder.path}", to="runs/a", code=75)
    after.append(status(page(tmp_path / "runs")[1]["a/tensorboard"]))
    monkeypatch.undo()
    train("logger=tensorboard", f"resume={folder.path}", to="runs/a")
    after.append(status(page(tmp_path / "runs")[1]["a/tensorboard"]))
    assert seen == ["STATUS_UNKNOWN", "STATUS_UNKNOWN"]
    assert after == ["STATUS_FAILURE", "STATUS_UNKNOWN", "STATUS_SUCCESS"]


def test_what_is_no_number_to_a_page_is_a_text() -> None:
    config = {"optimizer": {"name": "mine", "a": 10**400, "b": float("inf"), "c": float("nan"), "d": [True, None, 1]}}
    assert columns(config) == {
        "optimizer": "mine", "optimizer.a": str(10**400), "optimizer.b": "inf", "optimizer.c": "nan",
        "optimizer.d": "true null 1",
    }  # fmt: skip
