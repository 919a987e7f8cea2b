"""The `logger` group: a service that is not installed or would leak a secret is refused before anything starts."""

import importlib.util
from collections.abc import Callable

import pytest

from vgg_cifar.classifier import Classifier
from vgg_cifar.composition import compose_and_check
from vgg_cifar.errors import Interrupted, UserError
from vgg_cifar.runs.folder import RunFolder

SERVICES = ("wandb", "mlflow")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Pretend that every package is, or is not, installed."""

    def pretend(there: bool) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if there else None)

    return pretend


@pytest.mark.parametrize("logger", SERVICES)
def test_a_service_that_is_not_installed_says_how_to_install_it(logger: str, installed: Callable[[bool], None]) -> None:
    installed(False)
    with pytest.raises(UserError) as caught:
        compose_and_check([f"logger={logger}"])
    command = f".venv/bin/uv pip install --python .venv/bin/python -r pyproject.toml --extra {logger}"
    assert str(caught.value) == f"logger: {logger} is not installed; {command}"


@pytest.mark.parametrize("logger", SERVICES)
def test_a_service_that_is_installed_is_a_choice_like_any_other(logger: str, installed: Callable[[bool], None]) -> None:
    installed(True)
    chosen = compose_and_check([f"logger={logger}"]).config.logger
    assert (chosen.name, chosen.tensorboard) == (logger, True)


@pytest.mark.parametrize("address", ["https://me:hunter2@host/x", "postgresql://me@host/db", "sqlite://:hunter2@/x"])
def test_an_address_with_a_secret_is_refused_without_repeating_it(
    address: str, installed: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(True)
    monkeypatch.setenv("SECRET_ADDRESS", address)
    for given in (f"'{address}'", "${oc.env:SECRET_ADDRESS}"):
        with pytest.raises(UserError, match=r"logger\.tracking_uri: .* MLFLOW_TRACKING_URI") as caught:
            compose_and_check(["logger=mlflow", f"logger.tracking_uri={given}"])
        assert "hunter2" not in str(caught.value)
        assert "host" not in str(caught.value)


@pytest.fixture
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides that tell a service, if it is installed, without a network."""
    logger: str = request.param
    pytest.importorskip(logger)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    offline = ["logger.mode=offline"] if logger == "wandb" else []
    return [f"logger={logger}", "logger.tensorboard=false", *offline]


KEPT = {"wandb": "wandb/offline-run-*/*.wandb", "mlflow": "mlflow.db"}


@pytest.mark.parametrize(("told", "kept"), KEPT.items(), indirect=["told"], ids=KEPT)
def test_a_service_does_not_spoil_an_interruption_or_the_next_run(
    told: list[str], kept: str, train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupted("SIGTERM")

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "on_test_epoch_start", interrupted)
        first = train(*told, to="first", code=75)
    assert first.read_result()["status"] == "interrupted"
    second = train(*told, to="second")
    assert second.read_result()["status"] == "finished"
    for folder in (first, second):
        assert list(folder.path.glob(kept))


@pytest.mark.parametrize("told", ["mlflow"], indirect=True)
def test_a_service_is_told_what_metrics_csv_is_told(told: list[str], train: Callable[..., RunFolder]) -> None:
    from mlflow.tracking import MlflowClient

    folder = train(*told, "tags=[one]")
    client = MlflowClient(f"sqlite:///{folder.path}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'vgg-cifar'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["optimizer.name"] == "sgd"
    assert run.data.metrics["test/top1"] == pytest.approx(folder.read_result()["test/top1"])
    assert run.data.tags["one"] == "true"
