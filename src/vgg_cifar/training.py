"""One run from a checked configuration to a folder with its result: compose the parts, fit, test, write down."""

from __future__ import annotations

import logging
import re
import shlex
import signal
import time
import traceback
from contextlib import suppress
from itertools import zip_longest
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from rich.console import Console

from vgg_cifar import failure, layer_table, meeting, saving
from vgg_cifar.choices import places
from vgg_cifar.classifier import Classifier
from vgg_cifar.config import Config
from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.data.dataset import Dataset
from vgg_cifar.ddp import DDP, Launcher, Loss, disconnect
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
from vgg_cifar.evaluation.outputs import Outputs
from vgg_cifar.options import flat, quoted
from vgg_cifar.overrides import option_of, parse
from vgg_cifar.parts import arithmetic, make_classifier, make_datamodule, make_trainer, unasked_processes
from vgg_cifar.profiling import TrainingProfiler
from vgg_cifar.progress import ProgressReport
from vgg_cifar.reporting import terminal
from vgg_cifar.runs import checkpoints, hyperparameters
from vgg_cifar.runs.folder import RunFolder, why_not
from vgg_cifar.runs.histograms import Histograms
from vgg_cifar.runs.manifest import ended, gone_on_with, manifest
from vgg_cifar.runs.metrics import MetricsFile
from vgg_cifar.runs.placement import rank
from vgg_cifar.runs.record import Record
from vgg_cifar.runs.stopwatch import Stopwatch
from vgg_cifar.runs.tensorboard import Dashboard, writing_threads_are_quiet
from vgg_cifar.saving import EarlyStopping, Saving
from vgg_cifar.signals import Signals
from vgg_cifar.trained import restore
from vgg_cifar.tuning import tune

log = logging.getLogger(__name__)


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
        this = _Run(config, folder, overrides, changed or {}, signals)
        with signals.taken(), writing_threads_are_quiet():
            code = this.execute()
            if code == DONE and this.first:
                this.evaluate()
            return code
    except RunError as error:
        log.error("The run failed: %s", error)
        return FAILED
    finally:
        folder.unlock()


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
        before = folder.read_result() if config.resume is not None else {}
        of_any = before.keys() & {"test_reads"}  # a run that was killed before it saved begins anew, but has read
        self.result: dict[str, Any] = before if self.resumed else {key: before[key] for key in of_any}
        self.manifest: dict[str, Any] = folder.read_manifest() if self.resumed else {}
        self.tuned: dict[str, Any] = {}
        self.attempts = 0
        self.outputs = Outputs() if config.evaluate else None

    def execute(self) -> int:
        config = self.config
        if self._is_complete():
            log.info("%s is finished; trainer.max_epochs=N with a larger N goes on", self.folder.path)
            return DONE
        kind, *_ = arithmetic(config)  # refused before the images are fetched, if it is
        if self.first and (processes := unasked_processes(config, kind)):
            log.warning(
                "torch finds no GPU: trainer.devices=%d are processes on the CPU, where two on two cores are slower "
                "than one",
                processes,
            )
        datamodule = make_datamodule(config)
        if not self.resumed:
            config = self._with_numbers_for_auto(datamodule)
            if self.tuned:
                datamodule = make_datamodule(config)
        code = None
        while code is None:
            self.attempts += 1
            code = self._attempt(datamodule)
        return code

    def _attempt(self, datamodule: DataModule) -> int | None:
        """Train from the newest checkpoint or the start, and test: the exit code, or None to go back once more."""
        config = self.config
        name, checkpoint = (checkpoints.newest(self.folder) if self.resumed else None) or (None, {})
        if (reached := checkpoint.get("epoch", -1) + 1) > config.trainer.max_epochs:
            raise UserError(
                f"trainer.max_epochs: {self.folder.path} has come to epoch {reached} already; give {reached} or more"
            )
        step, ended_at = checkpoint.get("global_step", 0), saving.of(checkpoint).get("ended_at")
        further = ended_at is not None and config.trainer.max_epochs > ended_at
        # The last step whose figures will not come again; those of a test stand under the one after the last.
        known = step if further else step - 1
        classifier = make_classifier(config, datamodule)
        self._check_teachers(classifier)
        stopwatch = Stopwatch()
        self.result = {**self.result, "status": "running"}
        for key in ("error", "rank"):
            self.result.pop(key, None)
        record = Record(self.folder, self.result, stopwatch, datamodule, self.started)
        dashboard = Dashboard(self.folder, after_step=known) if config.logger.tensorboard else None
        loggers: list[Logger] = [MetricsFile(self.folder, after_step=known), *([dashboard] if dashboard else [])]
        if self.first:
            loggers += self._services()
        profiler = TrainingProfiler(self.folder.trace, config.profile) if config.profile and self.first else None
        trainer, chosen = make_trainer(config, self._callbacks(stopwatch, record, dashboard), loggers, profiler)
        if isinstance(trainer.strategy, DDP):
            trainer.strategy.when_lost = self._lost
            trainer.strategy.meet(lambda: self._facts(datamodule, classifier, chosen, name, step))
        if self.first:
            self._show(classifier)
            self._write_down_what_begins(
                datamodule, classifier, chosen, step, saving.of(checkpoint).get("setbacks", [])
            )
            if dashboard is not None:
                hyperparameters.begin(self.folder, config.model_dump())
                if known < 0:  # no point of an earlier process stays, nor does what it described
                    dashboard.describe(datamodule, config.logger.images)
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
            return self._ended_by(error, record, trainer, classifier)
        finally:
            if profiler is not None:
                profiler.close()
        return self._end(record, trainer, classifier, "finished", DONE)

    def _check_teachers(self, classifier: Classifier) -> None:
        """A run that goes on learns from those it began with."""
        began_with, sources = self.manifest.get("teachers", []), classifier.criterion.sources
        for then, now in zip_longest(began_with, sources) if self.resumed else ():
            if then is None or now is None or then["sha256"] != now.sha256:
                which = now.run if now is not None else then["run"]
                raise UserError(
                    f"distillation.teachers: {which} has other weights than when {self.folder.path} began, or was no "
                    "teacher then or is none now; start a new run"
                )

    def _facts(
        self,
        datamodule: DataModule,
        classifier: Classifier,
        chosen: dict[str, Any],
        checkpoint: str | None,
        step: int,
    ) -> dict[str, Any]:
        """What has to be the same on all ranks: the folder, where to go on, the images and the options."""
        own = ("resume", "data.root", "data.download", "data.memory")  # each machine may have its own
        options = flat(self.config.model_dump(mode="json"))
        return {key: value for key, value in options.items() if key not in own} | {
            meeting.FOLDER: self.folder.mark(),
            "resume": [checkpoint, step],
            "data.root": datamodule.dataset.hashes,
            "trainer.precision": chosen["precision"],
            "distillation.teachers": [source.sha256 for source in classifier.criterion.sources],
        }

    def _is_complete(self) -> bool:
        """Whether the run that should go on has nothing left to do."""
        if not self.resumed or self.result.get("status") != "finished":
            return False
        return bool(self.config.trainer.max_epochs <= self.folder.read_config()["trainer"]["max_epochs"])

    def evaluate(self) -> None:
        """Look at what the network knows, if that is wanted; the run is finished, whatever comes of it."""
        if self.outputs is None or self.outputs.logits is None:
            return
        from vgg_cifar.evaluation.evaluating import evaluate
        from vgg_cifar.reporting.evaluation_report import write_evaluation

        log.info("Looking at what the network knows ...")
        again = f".venv/bin/python src/evaluate.py run={shlex.quote(str(self.folder.path))}"
        disconnect()
        try:
            trained = restore(self.folder, self.result["tested_checkpoint"], config=self.config)
            found = evaluate([trained], known=self.outputs.logits)
            assert found is not None
            log.info("What it knows: %s", write_evaluation(found, self.folder.evaluation))
        except (KeyboardInterrupt, Interrupted):
            log.warning("The run is finished, its evaluation was interrupted; it is made by %s", again)
        except Exception as error:
            log.warning("The run is finished, its evaluation failed: %s; it is made by %s", first_line(error), again)

    def _show(self, classifier: Classifier) -> None:
        """The configuration and the layers, unless they were shown when the run began."""
        if self.resumed:
            return
        terminal.configuration(self.config.model_dump(), self.changed)
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

    def _callbacks(self, stopwatch: Stopwatch, record: Record, dashboard: Dashboard | None) -> list[Callback]:
        config = self.config
        retries = config.divergence.retries > 0  # then there has to be something to go back to
        checkpointing = Saving(self.folder, self.signals, stopwatch, at_start=retries, **config.checkpoint.model_dump())
        stopping: list[Callback] = []
        if config.early_stopping.patience is not None:
            stopping.append(EarlyStopping("val/top1", mode="max", patience=config.early_stopping.patience))
        progress = ProgressReport(self.console, bar=config.trainer.enable_progress_bar)
        shown: list[Callback] = [self.outputs] if self.outputs is not None else []
        if dashboard is not None and config.logger.histograms:
            shown.append(Histograms(dashboard, stopwatch, config.logger.histograms))
        return [*config.averaging.build(), stopwatch, self.signals, *stopping, record, progress, *shown, checkpointing]

    def _write_down_what_begins(
        self,
        datamodule: DataModule,
        classifier: Classifier,
        chosen: dict[str, Any],
        step: int,
        setbacks: list[dict[str, Any]],
    ) -> None:
        config = self.config
        written = config.model_dump()
        if "root" in written["data"]:
            written["data"]["root"] = str(config.data.folder())  # type: ignore[union-attr]
        begun = manifest(self.overrides, config.seed, datamodule.dataset.hashes, chosen)
        if self.tuned:
            begun["tuned"] = self.tuned
        teachers = [source._asdict() for source in classifier.criterion.sources]
        if teachers:
            begun["teachers"] = teachers
        if self.attempts > 1:
            begun = self.manifest
        elif self.manifest:
            begun = gone_on_with(self.manifest, begun)
        if setbacks:
            begun["setbacks"] = setbacks
        self.manifest = begun
        self.folder.write_manifest(begun)
        self.folder.write_result(self.result)
        self.folder.write_config(written)  # the last: where it is there is a run, which says all that it should
        held_out = len(datamodule.val) if datamodule.val is not None else 0
        log.info(
            "%s training, %s validation and %s test images; %s on %s %s (%s)",
            f"{len(datamodule.train):,}", f"{held_out:,}", f"{len(datamodule.dataset.test):,}", chosen["precision"],
            chosen["ranks"], chosen["accelerator"] + (" processes" if chosen["ranks"] > 1 else ""), chosen["reason"],
        )  # fmt: skip
        if int(config.data.batch_size) > len(datamodule.train):
            log.warning(
                "data.batch_size=%s is more than there are training images: an epoch is one step",
                config.data.batch_size,
            )
        for each in teachers:
            log.info("Learning from %s, too", each["run"])
        log.info("%s %s", f"Going on from step {step} in" if self.resumed else "Running in", self.folder.path)

    def _test(self, trainer: Trainer, classifier: Classifier, datamodule: DataModule) -> None:
        """Read the test set once, with the checkpoint that the run would ship."""
        trainer.strategy.barrier("all is saved")  # by rank 0
        which = "best" if self.folder.checkpoint("best").is_file() else "last"
        try:
            checkpoint = checkpoints.read(self.folder.checkpoint(which))
        except UserError as error:
            raise RunError(f"{error}; remove it, and resume={self.folder.path} tests the last one") from error
        classifier.load_state_dict(checkpoint["state_dict"])
        trainer.test(classifier, datamodule, verbose=False)
        self.result["tested_checkpoint"] = which
        self.result["tested_epoch"] = int(checkpoint["epoch"]) + 1

    def _ended_by(self, error: Exception, record: Record, trainer: Trainer, classifier: Classifier) -> int | None:
        """Put an error down, or go back to before it: the exit code, or None to try again from there."""
        if isinstance(error, DivergedError) and self.config.divergence.retries:
            if isinstance(trainer.strategy.launcher, Launcher):
                trainer.strategy.launcher.stop_watching()  # the others end now, as this one does
            if not self.first:
                return INTERRUPTED
            try:
                going_back = self._goes_back(error, trainer)
            except (RunError, UserError) as another:
                return self._failed(another, record, trainer, classifier)
            if going_back and trainer.world_size > 1:
                return self._end(record, trainer, classifier, "interrupted", INTERRUPTED)
            if going_back:
                self._close(trainer, "failed")
                return None
        return self._failed(error, record, trainer, classifier)

    def _goes_back(self, error: DivergedError, trainer: Trainer) -> bool:
        """Make the last checkpoint, if there is one and a try is left, one with a lower learning rate.

        Where that was tried before and came to no other checkpoint, the one before is taken.
        """
        divergence = self.config.divergence
        name, content = (checkpoints.newest(self.folder) if self.folder.has_checkpoint() else None) or (None, {})
        setbacks = saving.of(content).get("setbacks", [])
        if name is None or len(setbacks) >= divergence.retries:
            return False
        if setbacks and setbacks[-1]["back_to_step"] == content["global_step"]:
            with suppress(UserError):
                before = checkpoints.read(self.folder.checkpoint("previous"))
                if before["global_step"] < content["global_step"]:
                    content = before
                    content["callbacks"].setdefault(Saving.__name__, {})["setbacks"] = setbacks
        (state,) = (each for each in trainer.callbacks if isinstance(each, Saving))  # type: ignore[attr-defined]
        step, factor = content["global_step"], divergence.lr_factor
        setback = {"step": error.step, "back_to_step": step, "lr_factor": factor}
        saving.lower_rate(content, factor, setback, state.best)
        checkpoints.write(content, self.folder.checkpoint(".new"))
        checkpoints.place(self.folder, last=True, best=False, instead=True)
        log.warning("%s; going back to step %d with %g times the learning rate", error, step, factor)
        self.resumed, self.result = True, self.folder.read_result()
        self.started = time.perf_counter()
        return True

    def _failed(self, error: Exception, record: Record, trainer: Trainer, classifier: Classifier) -> int:
        launcher = trainer.strategy.launcher
        loss = launcher.wait_for_loss() if isinstance(launcher, Launcher) else None
        if loss is not None and loss.code == INTERRUPTED:
            return self._end(record, trainer, classifier, "interrupted", INTERRUPTED)
        fit = (lambda config: _fit_a_little(config, [])) if trainer.world_size == 1 else None
        line = (
            failure.explained(error, self.config, self.folder, fit)
            if loss is None
            else failure.of_a_lost_rank(loss, self.folder)
        )
        if line is None:
            line = f"{type(error).__name__}: {first_line(error)}"
            log.error("The run failed: %s\n%s", line, redacted("".join(traceback.format_exception(error))))
        else:
            log.error("The run failed: %s", line)
        return self._end(record, trainer, classifier, "failed", FAILED, error=line)

    def _lost(self, loss: Loss) -> None:
        """Write down that the run ends with another rank; this process may be stuck and will be ended."""
        line = failure.of_a_lost_rank(loss, self.folder)
        log.error("The run ends: %s", line)
        with suppress(RunError, UserError):
            if self.first or self.folder.read_result().get("status") in ("running", "interrupted"):
                status = {"status": "interrupted"} if loss.code == INTERRUPTED else {"status": "failed", "error": line}
                self.folder.write_manifest(ended(self.folder.read_manifest(), loss.code))
                self.folder.write_result(self.folder.read_result() | status)

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
            self.folder.write_manifest(ended(self.manifest, code))
            record.write(trainer, classifier, status=status, **more)
            self._close(trainer, "success" if status == "finished" else "failed")  # the words that services know
            if self.config.logger.tensorboard and status != "interrupted":
                hyperparameters.end(self.folder, well=status == "finished")
        except (RunError, OSError) as error:
            if status == "finished":
                raise
            log.error("%s", error if isinstance(error, RunError) else why_not(error, self.folder.path))
        told = "resume=" in more.get("error", "")
        if status == "interrupted" or (status == "failed" and self.folder.has_checkpoint() and not told):
            log.info("%s at step %d; go on with: %s", status.capitalize(), trainer.global_step, self._again())
        elif status == "finished":
            self._say_what_came_out(record.datamodule.dataset)
        return code

    def _again(self) -> str:
        """What goes on with the run, as a shell takes it: no folder gives rights, or choices of a user's own."""
        from hydra.core.hydra_config import HydraConfig

        of_hydra = HydraConfig.get().overrides.hydra if HydraConfig.initialized() else []
        own = [each for each in self.overrides if option_of(each) == "allow"]
        for each in of_hydra:
            if option_of(each) == "hydra.searchpath":
                folders = places(parse([each]))[1:]
                own += ["--config-dir", str(folders[0])] if len(folders) == 1 else [each]
        path = str(self.folder.path)
        resume = path if re.fullmatch(r"[\w/.+-]+", path, re.ASCII) else quoted(path)
        return shlex.join([".venv/bin/python", "src/train.py", f"resume={resume}", *own])

    def _close(self, trainer: Trainer, status: str) -> None:
        for logger in trainer.loggers:
            logger.finalize(status)
        self.config.logger.finish()

    def _say_what_came_out(self, dataset: Dataset) -> None:
        terminal.closing(self.result, len(dataset.classes), len(dataset.superclasses))
        log.info("Run folder: %s", self.folder.path)
        if self.config.logger.tensorboard:
            log.info("Look at it: .venv/bin/tensorboard --logdir %s", shlex.quote(str(self.folder.path)))


def _fit_a_little(config: Config, callbacks: list[Callback]) -> None:
    datamodule = make_datamodule(config)
    trainer, _ = make_trainer(config, callbacks, [])
    trainer.fit(make_classifier(config, datamodule), datamodule)
