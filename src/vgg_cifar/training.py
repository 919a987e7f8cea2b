"""One run from a checked configuration to a folder with its result: compose the parts, fit, test, write down."""

from __future__ import annotations

import logging
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from rich.console import Console

from vgg_cifar import draws, hardware, layer_table, reporting
from vgg_cifar.classifier import Classifier
from vgg_cifar.config import Config
from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.errors import DONE, FAILED, INTERRUPTED, Interrupted, UserError, first_line, redacted
from vgg_cifar.limits import refuse_to_swell
from vgg_cifar.profiling import TrainingProfiler
from vgg_cifar.progress import ProgressReport
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.manifest import manifest, now
from vgg_cifar.runs.metrics import MetricsFile
from vgg_cifar.runs.placement import rank
from vgg_cifar.runs.record import Record, Stopwatch
from vgg_cifar.runs.tensorboard import Dashboard
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
    try:
        with _interruptible():
            return _Run(config, folder, overrides, changed or {}).execute()
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
    def __init__(self, config: Config, folder: RunFolder, overrides: list[str], changed: dict[str, Any]) -> None:
        self.config = config
        self.folder = folder
        self.overrides = overrides
        self.changed = changed
        self.started = time.perf_counter()
        self.first = rank() == 0
        self.console = Console()
        self.resumed = config.resume is not None and folder.checkpoint("last").is_file()
        self.result: dict[str, Any] = folder.read_result() if self.resumed else {}
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
        classifier = make_classifier(config, datamodule)
        if config.compile:
            classifier.network.compile(mode="reduce-overhead" if config.compile == "graphs" else None)

        stopwatch = Stopwatch(compiling=bool(config.compile))
        self.result = {**self.result, "status": "running"}
        self.result.pop("error", None)
        record = Record(self.folder, self.result, stopwatch, datamodule, self.started)
        step = load_checkpoint(self.folder, "last")["global_step"] if self.resumed else 0
        dashboard = Dashboard(self.folder, after_step=step) if config.logger.tensorboard else None
        loggers: list[Logger] = [MetricsFile(self.folder, after_step=step), *([dashboard] if dashboard else [])]
        if self.first:
            loggers += self._services()
        profiler = TrainingProfiler(self.folder.trace, config.profile) if config.profile and self.first else None
        trainer, chosen = make_trainer(config, self._callbacks(stopwatch, record), loggers, profiler)
        if self.first:
            self._show(classifier)
            self._write_down_what_begins(datamodule, chosen)
            if dashboard is not None:
                dashboard.describe(config, datamodule)
        try:
            trainer.fit(
                classifier,
                datamodule,
                ckpt_path=self.folder.checkpoint("last") if self.resumed else None,
                weights_only=True,
            )
            self._test(trainer, classifier, datamodule)
        except Interrupted:
            return self._end(record, trainer, classifier, "interrupted", INTERRUPTED)
        except Exception as error:
            log.error("The run failed.\n%s", redacted(traceback.format_exc()))
            reason = f"{type(error).__name__}: {first_line(error)}"
            return self._end(record, trainer, classifier, "failed", FAILED, error=reason)
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
        checkpoints: list[Callback] = []
        if config.data.val_fraction:
            checkpoints.append(
                ModelCheckpoint(
                    self.folder.checkpoints,
                    "best",
                    monitor="val/top1",
                    mode="max",
                    enable_version_counter=False,
                )
            )
        checkpoints.append(
            ModelCheckpoint(self.folder.checkpoints, "last", save_on_train_epoch_end=True, enable_version_counter=False)
        )
        stopping: list[Callback] = []
        if config.early_stopping.patience is not None:
            stopping.append(EarlyStopping("val/top1", mode="max", patience=config.early_stopping.patience))
        progress = ProgressReport(self.console, bar=config.trainer.enable_progress_bar)
        return [*config.averaging.build(), stopwatch, _Signals(), *stopping, *checkpoints, record, progress]

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
        checkpoint = load_checkpoint(self.folder, which)
        classifier.load_state_dict(checkpoint["state_dict"])
        trainer.test(classifier, datamodule, verbose=False)
        self.result["tested_checkpoint"] = which
        self.result["tested_epoch"] = int(checkpoint["epoch"]) + 1

    def _end(
        self, record: Record, trainer: Trainer, classifier: Classifier, status: str, code: int, **more: Any
    ) -> int:
        if not self.first:
            if status == "failed":  # Lightning ends rank 0 at once, before it could say why
                self.folder.write_result(self.folder.read_result() | {"status": status, "rank": rank(), **more})
            return code
        if status != "finished" and isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
            trainer.strategy.launcher.kill(signal.SIGKILL)
        record.write(trainer, classifier, status=status, **more)
        self.folder.write_manifest({**self.manifest, "end": now(), "exit_status": code})
        for logger in trainer.loggers:
            logger.finalize("success" if status == "finished" else "failed")  # the words that services know
        self.config.logger.finish()
        if status == "interrupted":
            log.info("Interrupted; go on with: .venv/bin/python src/train.py resume=%s", self.folder.path)
        elif status == "finished":
            self._say_what_came_out(len(record.datamodule.dataset.classes))
        return code

    def _say_what_came_out(self, classes: int) -> None:
        reporting.closing(self.result, classes)
        log.info("Run folder: %s", self.folder.path)
        if self.config.logger.tensorboard:
            log.info("Look at it: .venv/bin/tensorboard --logdir %s", self.folder.path)


def _fit_a_little(config: Config, callbacks: list[Callback]) -> None:
    datamodule = make_datamodule(config)
    trainer, _ = make_trainer(config, callbacks, [])
    trainer.fit(make_classifier(config, datamodule), datamodule)


def load_checkpoint(folder: RunFolder, which: str) -> dict[str, Any]:
    """A checkpoint as plain data on the CPU.

    Raises:
        UserError: if it is damaged, or holds more than plain data.
    """
    path = folder.checkpoint(which)
    try:
        refuse_to_swell(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path} is refused: it is damaged, or holds more than plain data") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no checkpoint: it holds a {type(content).__name__}")
    return content


class _Signals(Callback):
    """Takes SIGTERM back from Lightning, which would end a single process with exit code 0 and hang several."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _take_signals()
        # With several ranks it would also send them rank 0's flag at every step, and wait until it is there.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _take_signals()


def _take_signals() -> None:
    def interrupt(number: int, frame: Any) -> None:  # noqa: ARG001
        raise Interrupted(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, interrupt)  # the terminal was closed
    # Ctrl-C reaches every process of a terminal: rank 0 ends the others.
    signal.signal(signal.SIGINT, interrupt if rank() == 0 else signal.SIG_IGN)


@contextmanager
def _interruptible() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    _take_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
