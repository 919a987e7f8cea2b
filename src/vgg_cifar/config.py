"""A run's whole configuration, put together from the options of each part, and checked before any work starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from vgg_cifar.augmentation import Augmentation
from vgg_cifar.averaging import AveragingOptions
from vgg_cifar.data import DataOptions
from vgg_cifar.distillation import DistillationOptions
from vgg_cifar.dropout import DropoutOptions
from vgg_cifar.errors import UserError
from vgg_cifar.logger import LoggerOptions
from vgg_cifar.model import CustomModel, ModelOptions
from vgg_cifar.optimizer import CustomOptimizer, OptimizerOptions
from vgg_cifar.options import Count, Fraction, Options, Positive, in_one_line, is_within
from vgg_cifar.resizing import ResizingOptions
from vgg_cifar.schedule import ScheduleOptions
from vgg_cifar.sharpness import SharpnessOptions
from vgg_cifar.trainer import TrainerOptions
from vgg_cifar.weight_decay import WeightDecayOptions

FOUND = ("optimizer.lr", "data.batch_size")
"""Options whose `auto` a run replaces by a number that it finds, see `tuning`."""

BESIDE_THE_POINT = (
    "name", "tags", "sweep", "resume", "evaluate", "profile", "logger", "checkpoint", "data.root", "data.download",
    "data.memory", "trainer.log_every_n_steps", "trainer.enable_progress_bar",
)  # fmt: skip
"""Options that say where a run is, how it is shown and what is kept of it, and nothing of what it computes."""


class EarlyStoppingOptions(Options):
    """When to stop before the last epoch."""

    patience: Count | None
    """Epochs without a better val/top1 after which to stop; null never does."""


class CheckpointOptions(Options):
    """When a run is saved, beside its end; the last two checkpoints stay, the best one, and those of some epochs."""

    every_epochs: Count | None
    """Epochs between checkpoints; null: none between epochs."""
    every_minutes: Positive | None
    """Minutes after which one is written in the middle of an epoch; null: none there."""
    every_steps: Count | None
    """Optimizer steps between checkpoints in the middle of epochs; null: none there."""
    keep_every_epochs: Count | None
    """Epochs between checkpoints that stay, as `epoch_N.ckpt`; null: none does."""


class DivergenceOptions(Options):
    """What to do when a loss or a weight is not a finite number any more; the last checkpoint was good still."""

    retries: Annotated[int, Field(ge=0)]
    """How often in a run to go back to the last checkpoint with a lower learning rate; 0: the run fails."""
    lr_factor: Annotated[float, Field(gt=0, lt=1)]
    """What the learning rate is multiplied by each time."""


class Config(Options):
    """Everything that makes a run what it is."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
    """Folder under `outputs/` in which the run's own folder lies; an experiment's name."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Decides initial weights, order of images, augmentation and dropout."""
    data: DataOptions
    model: ModelOptions
    optimizer: OptimizerOptions
    schedule: ScheduleOptions
    augmentation: Augmentation
    resizing: ResizingOptions
    dropout: DropoutOptions
    weight_decay: WeightDecayOptions
    averaging: AveragingOptions
    sharpness: SharpnessOptions
    distillation: DistillationOptions
    label_smoothing: Fraction
    """Share of the target spread evenly over all classes while training."""
    early_stopping: EarlyStoppingOptions
    checkpoint: CheckpointOptions
    divergence: DivergenceOptions
    trainer: TrainerOptions
    logger: LoggerOptions
    compile: bool | Literal["graphs"]
    """Whether torch compiles the network first, and with "graphs" also repeats whole steps as CUDA graphs: worth its
    half minute on a GPU, not on a CPU."""
    monitor_test: bool
    """Whether test loss and accuracy are logged every epoch, for the chart only. Nothing is ever chosen by them."""
    evaluate: bool
    """Whether a finished run ends with a page on what its network knows, as `src/evaluate.py` makes it."""
    profile: Count | None
    """Batches of which to write a trace and say where the time went; null: none."""
    sweep: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")] | None
    """With -m, the name of the sweep, whose folder is in outputs/sweeps/; null: made of what is swept."""
    resume: str | None
    """A run's folder to go on with, or "auto" for the newest run of this configuration, if there is one."""
    tags: list[str]
    """Words to find the run by."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Config:
        devices = self.trainer.devices if isinstance(self.trainer.devices, int) else 1
        parts = devices * self.trainer.num_nodes * self.trainer.accumulate_grad_batches
        if self.data.batch_size != "auto" and self.data.batch_size < parts:
            raise ValueError(
                f"data.batch_size: {self.data.batch_size} images cannot be dealt to {parts} parts (devices x nodes x "
                "accumulated batches); raise it or lower trainer.devices or trainer.accumulate_grad_batches"
            )
        if self.early_stopping.patience is not None and self.data.val_fraction == 0:
            raise ValueError(
                "early_stopping.patience: needs held-out images; set data.val_fraction=0.1 or "
                "early_stopping.patience=null"
            )
        if self.compile == "graphs" and (parts > 1 or self.trainer.devices == "auto"):
            raise ValueError(
                "compile: graphs repeat whole steps of one device; set compile=true, or trainer.devices=1, "
                "trainer.num_nodes=1 and trainer.accumulate_grad_batches=1"
            )
        if self.sharpness.name != "none" and self.trainer.precision == "16-mixed":
            raise ValueError(
                "trainer.precision: 16-mixed scales the gradients that sharpness goes uphill by; set "
                "trainer.precision=bf16-mixed or sharpness=none"
            )
        if self.sharpness.name != "none" and self.trainer.accumulate_grad_batches > 1:
            raise ValueError(
                "sharpness: goes uphill by the gradient of a whole step, not of its parts; set sharpness=none or "
                "trainer.accumulate_grad_batches=1"
            )
        for key, value in zip(FOUND, (self.optimizer.lr, self.data.batch_size), strict=True):
            if value == "auto" and (self.trainer.devices, self.trainer.num_nodes) != (1, 1):
                raise ValueError(f"{key}: auto is looked for on one device; set trainer.devices=1, or give a number")
        return self

    @model_validator(mode="after")
    def _classes_of_the_users_own_take_what_the_rest_asks_of_them(self) -> Config:
        decay = getattr(self.weight_decay, "value", 0.0)
        if isinstance(self.optimizer, CustomOptimizer) and decay and not self.optimizer.takes("weight_decay"):
            raise ValueError(f"weight_decay: {self.optimizer.target} has none; set weight_decay=none")
        if isinstance(self.model, CustomModel) and self.dropout.name != "none":
            raise ValueError(f"dropout: {self.model.target} brings its own dropout or none; set dropout=none")
        return self

    def refuse_missing_files(self) -> None:
        """See whether what a new run reads first is there: images, weights to begin with, and teachers.

        Raises:
            UserError: if not.
        """
        self.data.refuse_missing_files()
        self.model.refuse_missing_files()
        self.distillation.refuse_missing_files()


def is_beside_the_point(option: str) -> bool:
    """Whether an option says nothing of what a run computes."""
    return is_within(option, BESIDE_THE_POINT)


def check(raw: dict[str, Any], allow: Sequence[str] = ()) -> Config:
    """Turn plain dicts and lists into a Config.

    Args:
        raw: the options.
        allow: packages beside `custom.ALLOWED` whose classes may be named: what a user typed, never what a file says.

    Raises:
        UserError: naming the first option that is unknown, missing, of the wrong type or out of range.
    """
    try:
        return Config.model_validate(raw, context={"allow": allow})
    except ValidationError as error:
        raise UserError(in_one_line(error, raw, Config)) from error
