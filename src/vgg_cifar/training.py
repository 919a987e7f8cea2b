"""One run from a checked configuration to a folder with its result: compose the parts, fit, test, write down."""

from __future__ import annotations

import logging
import signal
import time
import traceback
from contextlib import suppress
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from rich.console import Console

from vgg_cifar import draws, hardware, layer_table, reporting
from vgg_cifar.classifier import Classifier
from vgg_cifar.config import Config
from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.ddp import DDP, Launcher
from vgg_cifar.errors import (
    DONE,
    FAILED,
    INTERRUPTED,
    DivergedError,
    Interrupted,
    RunError,
    UserError,
    first_line,
    redacted,
)
from vgg_cifar.profiling import TrainingProfiler
from vgg_cifar.progress import ProgressReport
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder, why_not
from vgg_cifar.runs.manifest import manifest, now
from vgg_cifar.runs.metrics import MetricsFile
from vgg_cifar.runs.placement import rank
from vgg_cifar.runs.record import Record, Stopwatch
from vgg_cifar.runs.tensorboard import Dashboard
from vgg_cifar.saving import Saving, lower_rate
from vgg_cifar.signals import Signals
from vgg_cifar.tuning import tune

log = logging.getLogger(__name__)
# Lightning sets its own loggers to INFO when it is imported: its notes on devices and limits tell a user nothing new.
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


def run(config: Config, folder: RunFolder, overrides: list[str], changed: dict[str, Any] | None = None) -> int:
    """Train, test and record.

    Args:
        config: what to do.
        folder: where; created if need be.
        overrides: what was typed, for the manifest.
        changed: the options that differ from the defaults, with those, to be marked where the configuration is shown.

    Returns:
        The exit code: 0 done, 1 failed, 75 interrupted and resumable.

    Raises:
        UserError: for mistakes that only the data or a checkpoint could show; the folder then holds no result.
    """
    if rank() == 0:
        folder.lock()
    else:
        logging.getLogger().setLevel(logging.WARNING)
    signals = Signals()
    try:
        with signals.taken():
            return _Run(config, folder, overrides, changed or {}, signals).execute()
    finally:
        folder.unlock()


def make_datamodule(config: Config) -> DataModule:
    """The run's images."""
    return DataModule(
        config.data,
        config.seed,
        augment=config.augmentation.build(config.seed, config.data.mean),
        mix=config.augmentation.mixing(config.seed),
        side=None if config.resizing.name == "none" else config.resizing.side,
        monitor_test=config.monitor_test,
    )


def make_classifier(config: Config, datamodule: DataModule) -> Classifier:
    """The run's network with freshly drawn weights, the same on every rank, and how it is trained."""
    torch.manual_seed(draws.key(config.seed, "weights"))
    network = config.model.build(len(datamodule.dataset.classes), config.dropout)
    return Classifier(
        network,
        datamodule.dataset.superclass_of,
        optimizer=config.optimizer,
        weight_decay=config.weight_decay,
        schedule=config.schedule,
        label_smoothing=config.label_smoothing,
        seed=config.seed,
    )


def make_trainer(
    config: Config, callbacks: list[Callback], loggers: list[Logger], profiler: Profiler | None = None
) -> tuple[Trainer, dict[str, Any]]:
    """The run's Trainer, and what was chosen for this machine, with the reason.

    Raises:
        UserError: if this machine, or the launcher that started this process, cannot do what was asked for.
    """
    kind = hardware.accelerator(config.trainer.accelerator)
    if kind == "cpu":
        hardware.keep_freed_memory()
    precision, reason = hardware.precision(kind)
    if config.trainer.precision != "auto":
        precision, reason = config.trainer.precision, "as asked"
    if kind == "cpu" and precision == "16-mixed":
        raise UserError("trainer.precision: 16-mixed needs a GPU; on a CPU use bf16-mixed or 32-true")
    try:
        trainer = config.trainer.build(callbacks, loggers, kind, precision, profiler)
    except (MisconfigurationException, ValueError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    return trainer, {
        "accelerator": kind,
        "precision": precision,
        "ranks": trainer.world_size,
        "reason": reason,
    }


class _Run:
    def __init__(
        self, config: Config, folder: RunFolder, overrides: list[str], changed: dict[str, Any], signals: Signals
    ) -> None:
        self.config = config
        self.folder = folder
        self.overrides = overrides
        self.changed = changed
        self.signals = signals
        self.started = time.perf_counter()
        self.first = rank() == 0
        self.console = Console()
        self.resumed = config.resume is not None and folder.has_checkpoint()
        self.result: dict[str, Any] = folder.read_result() if self.resumed else {}
        self.further = self.result.get("status") == "finished"
        self.manifest: dict[str, Any] = folder.read_manifest() if self.resumed else {}
        self.tuned: dict[str, Any] = {}

    def execute(self) -> int:
        config = self.config
        if self._is_complete():
            log.info("%s is finished; trainer.max_epochs=N with a larger N goes on", self.folder.path)
            return DONE
        datamodule = make_datamodule(config)
        if not self.resumed:
            config = self._with_numbers_for_auto(datamodule)
            if self.tuned:
                datamodule = make_datamodule(config)
        code = None
        while code is None:
            code = self._attempt(datamodule)
        return code

    def _attempt(self, datamodule: DataModule) -> int | None:
        """Train from the newest checkpoint or the start, and test: the exit code, or None to go back once more."""
        config = self.config
        name, checkpoint = (checkpoints.newest(self.folder) if self.resumed else None) or (None, {})
        step = checkpoint.get("global_step", 0)
        known = step - (not self.further)  # the number of the last step whose figures will not come again
        classifier = make_classifier(config, datamodule)
        if config.compile:
            classifier.network.compile(mode="reduce-overhead" if config.compile == "graphs" else None)

        stopwatch = Stopwatch(compiling=bool(config.compile))
        self.result = {**self.result, "status": "running"}
        self.result.pop("error", None)
        record = Record(self.folder, self.result, stopwatch, datamodule, self.started)
        dashboard = Dashboard(self.folder, after_step=known) if config.logger.tensorboard else None
        loggers: list[Logger] = [MetricsFile(self.folder, after_step=known), *([dashboard] if dashboard else [])]
        if self.first:
            loggers += self._services()
        profiler = TrainingProfiler(self.folder.trace, config.profile) if config.profile and self.first else None
        trainer, chosen = make_trainer(config, self._callbacks(stopwatch, record), loggers, profiler)
        if isinstance(trainer.strategy, DDP):
            trainer.strategy.when_lost = self._lost
        if self.first:
            self._show(classifier)
            self._write_down_what_begins(datamodule, chosen)
            if dashboard is not None and not self.resumed:
                dashboard.describe(config, datamodule)
        try:
            trainer.fit(
                classifier,
                datamodule,
                ckpt_path=self.folder.checkpoint(name) if name else None,
                weights_only=True,
            )
            self._test(trainer, classifier, datamodule)
        except Interrupted:
            return self._end(record, trainer, classifier, "interrupted", INTERRUPTED)
        except Exception as error:
            if isinstance(error, DivergedError) and self._goes_back(error):
                if trainer.world_size > 1:
                    return self._end(record, trainer, classifier, "interrupted", INTERRUPTED)
                self._close(trainer, "failed")
                return None
            return self._end(record, trainer, classifier, "failed", FAILED, error=self._told(error, trainer))
        finally:
            if profiler is not None:
                profiler.close()
        return self._end(record, trainer, classifier, "finished", DONE)

    def _is_complete(self) -> bool:
        """Whether the run that should go on has nothing left to do."""
        if not self.resumed or self.result.get("status") != "finished":
            return False
        return bool(self.config.trainer.max_epochs <= self.folder.read_config()["trainer"]["max_epochs"])

    def _show(self, classifier: Classifier) -> None:
        """The configuration and the layers, unless they were shown when the run began."""
        if self.resumed:
            return
        reporting.configuration(self.config.model_dump(), self.changed)
        if self.config.model.name != "custom":  # which may not be traceable
            title = f"{self.config.model.name} on {self.config.data.name}"
            self.console.print(layer_table.table(classifier.network, title))

    def _with_numbers_for_auto(self, datamodule: DataModule) -> Config:
        try:
            self.config, self.tuned = tune(self.config, len(datamodule.train), _fit_a_little)
        except (RuntimeError, ValueError, ArithmeticError) as error:
            raise UserError(f"auto: looking for a number failed, give one: {first_line(error)}") from error
        return self.config

    def _services(self) -> list[Logger]:
        logger = self.config.logger
        try:
            return logger.build(self.folder.path, self.config.model_dump())
        except Exception as error:
            raise UserError(f"logger: {logger.name} cannot be told about the run: {first_line(error)}") from error

    def _callbacks(self, stopwatch: Stopwatch, record: Record) -> list[Callback]:
        config = self.config
        saving = Saving(self.folder, self.signals, stopwatch, further=self.further, **config.checkpoint.model_dump())
        stopping: list[Callback] = []
        if config.early_stopping.patience is not None:
            stopping.append(EarlyStopping("val/top1", mode="max", patience=config.early_stopping.patience))
        progress = ProgressReport(self.console, bar=config.trainer.enable_progress_bar)
        return [*config.averaging.build(), stopwatch, self.signals, *stopping, record, progress, saving]

    def _write_down_what_begins(self, datamodule: DataModule, chosen: dict[str, Any]) -> None:
        config = self.config
        written = config.model_dump()
        if "root" in written["data"]:
            written["data"]["root"] = str(config.data.folder())  # type: ignore[union-attr]
        begun = manifest(self.overrides, config.seed, datamodule.dataset.hashes, chosen)
        if self.tuned:
            begun["tuned"] = self.tuned
        if self.manifest:
            keep = {key: begun[key] for key in ("command", "git", "packages", "hardware", "start")}
            begun = {**self.manifest, "resumed": [*self.manifest.get("resumed", []), keep], "end": None}
        self.manifest = begun
        self.folder.write_config(written)
        self.folder.write_manifest(begun)
        self.folder.write_result(self.result)
        held_out = len(datamodule.val) if datamodule.val is not None else 0
        log.info(
            "%s training, %s validation and %s test images; %s on %s %s (%s)",
            f"{len(datamodule.train):,}", f"{held_out:,}", f"{len(datamodule.dataset.test):,}", chosen["precision"],
            chosen["ranks"], chosen["accelerator"] + (" processes" if chosen["ranks"] > 1 else ""), chosen["reason"],
        )  # fmt: skip
        log.info("%s %s", "Going on in" if self.resumed else "Running in", self.folder.path)

    def _test(self, trainer: Trainer, classifier: Classifier, datamodule: DataModule) -> None:
        """Read the test set once, with the checkpoint that the run would ship."""
        which = "best" if self.folder.checkpoint("best").is_file() else "last"
        checkpoint = checkpoints.read(self.folder.checkpoint(which))
        classifier.load_state_dict(checkpoint["state_dict"])
        trainer.test(classifier, datamodule, verbose=False)
        self.result["tested_checkpoint"] = which
        self.result["tested_epoch"] = int(checkpoint["epoch"]) + 1

    def _goes_back(self, error: DivergedError) -> bool:
        """Make the last checkpoint, if there is one and a try is left, one with a lower learning rate."""
        config = self.config.divergence
        found = checkpoints.newest(self.folder) if self.folder.has_checkpoint() else None
        if found is None or found[1]["callbacks"]["Saving"]["setbacks"] >= config.retries:
            return False
        if self.first:
            content = found[1]
            lower_rate(content, config.lr_factor)
            new = self.folder.checkpoints / ".new.ckpt"
            checkpoints.write(content, new)
            checkpoints.place(new, self.folder, last=True, best=False)
            setback = {"step": error.step, "back_to_step": content["global_step"], "lr_factor": config.lr_factor}
            self.manifest["setbacks"] = [*self.manifest.get("setbacks", []), setback]
            self.folder.write_manifest(self.manifest)
            log.warning(
                "%s; going back to step %d with %g times the learning rate",
                error, content["global_step"], config.lr_factor,
            )  # fmt: skip
        self.resumed, self.result = True, self.folder.read_result()
        return True

    def _told(self, error: Exception, trainer: Trainer) -> str:
        """Why the run failed, in a line; said on the screen too, with a traceback where it is not understood."""
        launcher = trainer.strategy.launcher
        lost = launcher.wait_for_loss() if isinstance(launcher, Launcher) else None
        if lost is not None:
            line = self._reason_of_lost(lost)
        elif isinstance(error, DivergedError):
            line = f"{error}; {self._way_back()}"
        elif hardware.is_out_of_memory(error):
            line = f"out of memory with data.batch_size={self.config.data.batch_size}; {self._what_fits(trainer)}"
        elif isinstance(error, OSError):
            line = f"a file cannot be written: {why_not(error, self.folder.path)}"
        elif isinstance(error, RunError):
            line = str(error)
        else:
            log.error("The run failed.\n%s", redacted(traceback.format_exc()))
            return f"{type(error).__name__}: {first_line(error)}"
        log.error("The run failed: %s", line)
        return line

    def _way_back(self) -> str:
        if not self.folder.has_checkpoint():
            return "there is no checkpoint yet: start again with a lower optimizer.lr"
        return (
            f"the last good checkpoint is {self.folder.checkpoint('last')}; go on from it with a lower rate: "
            f"resume={self.folder.path} divergence.retries=1"
        )

    def _what_fits(self, trainer: Trainer) -> str:
        """How to take the same steps in less memory, found by trying."""
        if trainer.world_size > 1:
            return "raise trainer.accumulate_grad_batches: it takes the same steps in smaller parts"
        config, parts = self.config, 2 * self.config.trainer.accumulate_grad_batches
        while parts <= int(config.data.batch_size):
            changes = {"accumulate_grad_batches": parts, "max_epochs": 1, "max_steps": 1, "limit_val_batches": 0}
            short = {"trainer": config.trainer.model_copy(update=changes), "monitor_test": False}
            try:
                _fit_a_little(config.model_copy(update=short), [])
            except Exception as error:
                if not hardware.is_out_of_memory(error):
                    raise
                parts *= 2
                continue
            return f"trainer.accumulate_grad_batches={parts} fits, and takes the same steps in smaller parts"
        return "not even one image at a time fits: choose a smaller model"

    def _lost(self, reason: str) -> None:
        """Write down that the run ended with another rank; this process may be stuck and will be ended."""
        line = self._reason_of_lost(reason)
        log.error("The run failed: %s", line)
        with suppress(RunError, UserError):
            if self.first or self.folder.read_result().get("status") in ("running", "interrupted"):
                self.folder.write_result(self.folder.read_result() | {"status": "failed", "error": line})
                self.folder.write_manifest(self.folder.read_manifest() | {"end": now(), "exit_status": FAILED})

    def _reason_of_lost(self, lost: str) -> str:
        """What the lost rank itself said, if it could, with how it ended."""
        with suppress(UserError):
            result = self.folder.read_result()
            if result.get("status") == "failed" and result.get("error"):
                return f"{lost}: {result['error']}"
        return lost

    def _end(
        self, record: Record, trainer: Trainer, classifier: Classifier, status: str, code: int, **more: Any
    ) -> int:
        if not self.first:
            if status == "failed":
                with suppress(RunError, UserError):
                    self.folder.write_result(self.folder.read_result() | {"status": status, "rank": rank(), **more})
            return code
        if isinstance(trainer.strategy.launcher, Launcher):
            trainer.strategy.launcher.stop_watching()
            if status != "finished":
                trainer.strategy.launcher.kill(signal.SIGKILL)
        try:
            record.write(trainer, classifier, status=status, **more)
            self.folder.write_manifest({**self.manifest, "end": now(), "exit_status": code})
            self._close(trainer, "success" if status == "finished" else "failed")  # the words that services know
        except (RunError, OSError) as error:
            if status == "finished":
                raise
            log.error("%s", error if isinstance(error, RunError) else why_not(error, self.folder.path))
        if status == "interrupted" or (status == "failed" and self.folder.has_checkpoint()):
            log.info("%s; go on with: .venv/bin/python src/train.py resume=%s", status.capitalize(), self.folder.path)
        elif status == "finished":
            self._say_what_came_out(len(record.datamodule.dataset.classes))
        return code

    def _close(self, trainer: Trainer, status: str) -> None:
        for logger in trainer.loggers:
            logger.finalize(status)
        self.config.logger.finish()

    def _say_what_came_out(self, classes: int) -> None:
        reporting.closing(self.result, classes)
        log.info("Run folder: %s", self.folder.path)
        if self.config.logger.tensorboard:
            log.info("Look at it: .venv/bin/tensorboard --logdir %s", self.folder.path)


def _fit_a_little(config: Config, callbacks: list[Callback]) -> None:
    datamodule = make_datamodule(config)
    trainer, _ = make_trainer(config, callbacks, [])
    trainer.fit(make_classifier(config, datamodule), datamodule)
