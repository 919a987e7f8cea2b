"""The `logger` group: who is told about a run, beside its own `metrics.csv`.

Passwords and keys never stand in an option, since options are written to files: they come from the environment
(`WANDB_API_KEY`, `MLFLOW_TRACKING_USERNAME`, `MLFLOW_TRACKING_PASSWORD`, or an address in `MLFLOW_TRACKING_URI`).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from vgg_cifar.options import Options, flat

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


DATABASE = "/mlflow.db"
"""Where in a run's folder MLflow's records are, unless an address says otherwise."""


class _Logger(Options):
    tensorboard: bool
    """Whether to write TensorBoard's event files into the run's folder."""
    images: Annotated[int, Field(ge=0, le=256)]
    """Augmented training images shown at the start of a run, on TensorBoard; 0 shows none."""
    histograms: Annotated[int, Field(ge=0, le=1000)]
    """How often in a run TensorBoard gets each layer's weights and gradients as histograms, the first epoch besides;
    0: never."""

    def build(self, folder: Path, run: dict[str, Any]) -> list[Logger]:
        """What to tell beside `metrics.csv` and TensorBoard.

        Args:
            folder: the run's; what a service keeps on disk lies in it.
            run: the run's configuration, as plain dicts.
        """
        return []

    def finish(self) -> None:
        """Say that the run is over: another may begin in this process."""


class CSV(_Logger):
    """`metrics.csv` alone."""

    name: Literal["csv"]
    tensorboard: Literal[False]
    images: Literal[0]
    histograms: Literal[0]


class TensorBoard(_Logger):
    """TensorBoard's event files in the run's folder."""

    name: Literal["tensorboard"]
    tensorboard: Literal[True]


class WandB(_Logger):
    """Weights & Biases; needs the extra wandb."""

    name: Literal["wandb"]
    project: str
    """The project under which the run is shown."""
    entity: str | None
    """The account or team; null: your own."""
    mode: Literal["online", "offline"]
    """Whether to send the run now, or keep it in its folder for `wandb sync`."""

    @model_validator(mode="after")
    def _is_installed(self) -> WandB:
        _need("wandb")
        return self

    def build(self, folder: Path, run: dict[str, Any]) -> list[Logger]:
        """Lightning's logger, keeping its files in the run's folder."""
        from lightning.pytorch.loggers import WandbLogger

        logger = WandbLogger(
            name=folder.name,
            save_dir=folder,
            project=self.project,
            entity=self.entity,
            offline=self.mode == "offline",
            tags=[run["name"], *run["tags"]],
            id=f"{folder.parent.name}-{folder.name}",  # in a sweep the folder's own name is a number
            resume="allow",
        )
        logger.log_hyperparams(run)
        return [logger]

    def finish(self) -> None:
        """Say that the run is over: wandb would take the next one of this process for the same."""
        import wandb

        wandb.finish()


class MLflow(_Logger):
    """MLflow; needs the extra mlflow."""

    name: Literal["mlflow"]
    experiment: str
    """The experiment under which the run is shown."""
    tracking_uri: str | None
    """The server, or file:FOLDER; null: $MLFLOW_TRACKING_URI, else the run's own folder."""

    @field_validator("tracking_uri")
    @classmethod
    def _holds_no_secret(cls, uri: str | None) -> str | None:
        if uri is not None and ("@" in uri or "?" in uri):
            raise ValueError(
                "an address with a name, password or token in it would be kept in files; give it in the environment, "
                "as MLFLOW_TRACKING_URI, with logger.tracking_uri=null"
            )
        return uri

    @model_validator(mode="after")
    def _is_installed(self) -> MLflow:
        _need("mlflow")
        return self

    def build(self, folder: Path, run: dict[str, Any]) -> list[Logger]:
        """Lightning's logger."""
        from lightning.pytorch.loggers import MLFlowLogger

        uri = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder}{DATABASE}"
        logger = MLFlowLogger(
            experiment_name=self.experiment,
            run_name=folder.name,
            tracking_uri=uri,
            tags=dict.fromkeys(run["tags"], "true"),
        )
        logger.log_hyperparams({key: str(value) for key, value in flat(run).items()})
        return [logger]

    def finish(self) -> None:
        """Forget the run's own database: mlflow would put the next run of this process into it, by the environment."""
        if os.environ.get("MLFLOW_TRACKING_URI", "").endswith(DATABASE):
            del os.environ["MLFLOW_TRACKING_URI"]


LoggerOptions = Annotated[CSV | TensorBoard | WandB | MLflow, Field(discriminator="name")]


def _need(extra: str) -> None:
    """Refuse a service whose package, of the same name as the extra that installs it, is not there."""
    if importlib.util.find_spec(extra) is None:
        raise ValueError(
            f"logger: {extra} is not installed; "
            f".venv/bin/uv pip install --python .venv/bin/python -r pyproject.toml --extra {extra}"
        )
