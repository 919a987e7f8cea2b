"""A run's folder: where its files are, and how they are written so that a crash leaves them whole."""

from __future__ import annotations

import csv
import errno
import io
import json
import logging
import math
import os
import shutil
import stat
import threading
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from vgg_cifar.errors import RunError, UserError, first_line
from vgg_cifar.limits import bounded
from vgg_cifar.options import flat
from vgg_cifar.runs.lock import Lock

LARGEST = 2**26
"""Bytes of a configuration, a manifest, a result or a table of metrics."""
OF_A_PROCESS: dict[tuple[str, str], type] = {
    ("git", "commit"): str,
    ("git", "dirty"): bool,
    ("hardware", "accelerator"): str,
    ("hardware", "cpu"): str,
    ("hardware", "gpus"): list,
    ("hardware", "precision"): str,
    ("hardware", "ranks"): int,
}
"""What other parts read of a process in a manifest."""


class RunFolder:
    """One run on disk.

    Attributes:
        path: the folder, absolute; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self.path = Path(path).expanduser().absolute()
        except RuntimeError as error:
            raise UserError(f"{path}: there is no such user") from error
        self._lock = Lock(self.path / ".lock")
        self._wrote_manifest = False

    @property
    def config(self) -> Path:
        """The resolved configuration; a run has begun once it is there."""
        return self.path / "config.yaml"

    @property
    def manifest(self) -> Path:
        """How the run came about: command, commit, versions, hardware, data, times."""
        return self.path / "manifest.json"

    @property
    def result(self) -> Path:
        """Status, metrics and times."""
        return self.path / "result.json"

    @property
    def metrics(self) -> Path:
        """Every logged scalar, a row per step."""
        return self.path / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """`last.ckpt`, `previous.ckpt` before it, `best.ckpt` where images are held out; `epoch_N.ckpt` on demand."""
        return self.path / "checkpoints"

    @property
    def evaluation(self) -> Path:
        """What evaluations found: of the test set here, of validation images in a folder in it."""
        return self.path / "evaluation"

    def evaluation_of(self, split: str) -> Path:
        """What evaluations found of "test" or "val"."""
        return self.evaluation if split == "test" else self.evaluation / split

    @property
    def export(self) -> Path:
        """Files with the trained network for other programs."""
        return self.path / "export"

    @property
    def reproduction(self) -> Path:
        """How this run agrees with the one that it makes again."""
        return self.path / "reproduction.json"

    @property
    def trace(self) -> Path:
        """What a profiled run spent its time on, in Chrome's trace format."""
        return self.path / "profile" / "trace.json.gz"

    def checkpoint(self, name: str) -> Path:
        """The checkpoint called "best", "last", "previous" or "epoch_N", or ".new" while it is written."""
        return self.checkpoints / f"{name}.ckpt"

    def has_checkpoint(self) -> bool:
        """Whether there is anything to go on from."""
        return self.saved_at() > 0

    def saved_at(self) -> float:
        """When the newest checkpoint was written, in seconds since 1970; 0 where there is none."""
        found = [self.checkpoint(name) for name in ("last", "previous")]
        return max((path.stat().st_mtime for path in found if path.is_file()), default=0.0)

    def refuse_lost_checkpoints(self) -> None:
        """See whether what the run has learned is still there.

        Raises:
            UserError: if it must have saved, and nothing is left.
        """
        result, every = read_json(self.result), flat(self.read_config()).get("checkpoint.every_epochs")
        epochs = result.get("epochs")
        saved = isinstance(epochs, int) and isinstance(every, int) and epochs > every
        if (saved or result.get("status") == "finished") and not self.has_checkpoint():
            raise UserError(
                f"resume: {self.checkpoints} holds neither last.ckpt nor previous.ckpt, and the run had come to "
                f"epoch {epochs}; put them back, or start a new run"
            )

    @classmethod
    def existing(cls, path: str | Path, option: str) -> RunFolder:
        """A folder that a run has left.

        Raises:
            UserError: naming `option` if there is no run in it.
        """
        folder = cls(path)
        if not folder.config.is_file():
            raise UserError(f"{option}: there is no run in {folder.path} (no config.yaml){folder._run_near(option)}")
        below = (path.rglob("*") for path in (folder.checkpoints, folder.evaluation, folder.export))
        for each in chain(folder.path.iterdir(), chain.from_iterable(below)):  # a link is met before it is followed
            if each.is_symlink():
                raise UserError(
                    f"{option}: {each} is a link, and a run writes to nothing outside its folder; remove it"
                )
        return folder

    def holds_runs(self) -> bool:
        """Whether runs lie one or two folders below."""
        return any(chain.from_iterable(self.path.glob(f"{depth}/{self.manifest.name}") for depth in ("*", "*/*")))

    def _run_near(self, option: str) -> str:
        """`; did you mean ...?` where this is a file of a run or a folder of runs, or else nothing."""
        around = [each for each in list(self.path.parents)[:2] if RunFolder(each).config.is_file()]
        with suppress(OSError):  # a folder that may not be read
            within = [
                each for depth in ("*", "*/*", "*/*/*") for each in self.path.glob(f"{depth}/{self.manifest.name}")
            ]
            latest = [each.parent for each in sorted(within, key=lambda each: each.stat().st_mtime)[-1:]]
            if found := around or latest:
                which = "did you mean" if around else "did you mean the latest in it,"
                return f"; {which} {option}={os.path.relpath(found[0])}?"
        return ""

    def read_config(self) -> dict[str, Any]:
        """The configuration as plain dicts and lists."""
        try:
            with bounded(str(self.config)):
                content = yaml.safe_load(_text(self.config))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise UserError(f"{self.config} cannot be read: {first_line(error)}") from error
        if not isinstance(content, dict):
            raise UserError(f"{self.config} is damaged: it holds no options")
        return content

    def read_manifest(self) -> dict[str, Any]:
        """The manifest, or an empty dict where there is none."""
        return read_json(self.manifest)

    def last_process(self) -> dict[str, Any]:
        """What the manifest says of the process that trained last, which resumed the run or was its only one.

        Returns:
            Its own account as it stands, with `command` (words) and the dicts `git`, `packages` and `hardware`, each
            empty where the manifest lacks it; what `OF_A_PROCESS` names is of that type, or null, or absent.

        Raises:
            UserError: if the manifest cannot be read, or says something of another kind.
        """
        manifest = self.read_manifest()
        resumed = manifest.get("resumed") or [manifest]
        process = resumed[-1] if isinstance(resumed, list) else None
        if isinstance(process, dict):
            parts = {name: process.get(name) or {} for name in ("git", "packages", "hardware")}
            found = process | {"command": process.get("command") or []} | parts
            if _are_words(found["command"]) and all(isinstance(part, dict) for part in parts.values()):
                kinds = [(parts[part].get(key), kind) for (part, key), kind in OF_A_PROCESS.items()]
                words = parts["hardware"].get("gpus") or []
                if _are_words(words) and all(isinstance(value, kind | None) for value, kind in kinds):
                    return found
        raise UserError(f"{self.manifest} is damaged: it does not say on what the run was trained")

    def read_result(self) -> dict[str, Any]:
        """The result, or an empty dict where there is none; a dead run's "running" reads "interrupted"."""
        result = read_json(self.result)
        if result.get("status") == "running" and not self.in_use():
            result["status"] = "interrupted"
        return result

    def lock(self) -> None:
        """Take the folder for this process until it ends, however it ends.

        Raises:
            UserError: if another process is running in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._lock.take():
            raise UserError(f"{self.path} is in use by another process: wait for it or choose another folder")

    def unlock(self) -> None:
        """Give the folder back."""
        self._lock.release()

    def discard_unless_begun(self) -> None:
        """Remove what this process made, and the folder, if the run ended before it wrote its configuration."""
        if self.config.exists():
            return
        self.unlock()
        if self.in_use():  # another process's, which has not come so far yet
            return
        log = self.path / "train.log"  # Hydra's; nobody may open it again
        for handler in logging.getLogger().handlers[:]:
            if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename) == log:
                logging.getLogger().removeHandler(handler)
                handler.close()
        manifest = [self.manifest] if self._wrote_manifest else []
        for leftover in (self._lock.path, log, *manifest):
            leftover.unlink(missing_ok=True)
        for folder in (self.path, self.path.parent):
            with suppress(OSError):  # somebody else's files are in it
                folder.rmdir()

    def mark(self) -> list[int] | None:
        """What tells this folder from any other of the same name, once it was locked: two views of it have the same."""
        try:
            status = self._lock.path.stat()
        except OSError:
            return None
        return [status.st_ino, status.st_mtime_ns]

    def in_use(self) -> bool:
        """Whether a process, this one included, is running in the folder."""
        return self._lock.is_held()

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the configuration."""
        write(self.config, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest."""
        self._wrote_manifest = True
        write(self.manifest, json_text(manifest))

    def write_result(self, result: dict[str, Any]) -> None:
        """Write the result; numbers that are not finite become null."""
        write(self.result, json_text(result))

    def write_reproduction(self, agreement: dict[str, Any]) -> None:
        """Write how this run agrees with the one that it makes again."""
        write(self.reproduction, json_text(agreement))

    def read_metrics(self) -> list[dict[str, float]]:
        """The rows of `metrics.csv` without their empty cells."""
        try:
            table = csv.DictReader(io.StringIO(_text(self.metrics)), strict=True)
            rows = [{str(key): float(cell) for key, cell in row.items() if cell} for row in table]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise UserError(f"{self.metrics} cannot be read: {first_line(error)}") from error
        if not all("step" in row for row in rows):
            raise UserError(f"{self.metrics} is damaged: a row lacks its step")
        return rows

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Write `metrics.csv`: a column per name, `step` and `epoch` first, a row per dict."""
        names = ["step", "epoch", *sorted({name for row in rows for name in row} - {"step", "epoch"})]
        text = io.StringIO()
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({k: int(v) if k in ("step", "epoch") else v for k, v in row.items()})
        write(self.metrics, text.getvalue())


def write(path: Path, content: str | bytes) -> None:
    """Replace a file at once: readers see the old content or the new one, never half of it.

    Raises:
        RunError: if it cannot be written; the old content is there still.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        beside.unlink(missing_ok=True)
        with beside.open("xb") as file:  # never through a link that somebody laid
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {why_not(error, path.parent)}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def why_not(error: BaseException, folder: Path) -> str:
    """Why nothing can be written to a folder, and what would help."""
    if not folder.is_dir():
        return "its folder is gone"
    number, free = getattr(error, "errno", None), shutil.disk_usage(folder).free
    if number in (errno.ENOSPC, errno.EDQUOT) or (number is None and free < 1 << 20):
        return f"no space is left ({free / 1e6:,.0f} MB free); free some, the last good state is kept"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "it may not be written to any more; the last good state is kept"
    return first_line(error)


def _text(path: Path) -> str:
    """What a file holds, if it is one, and of a size that a run writes.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no text, no file, or larger.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as file:  # noqa: PTH123
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no file")
        if status.st_size > LARGEST:
            raise ValueError(f"it has {status.st_size:,} bytes, more than any run writes")
        return file.read()


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file of a run holds, or an empty dict where there is no file or no object in it.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        content = json.loads(_text(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    return content if isinstance(content, dict) else {}


def json_text(content: dict[str, Any]) -> str:
    """A JSON file of a run; numbers that are not finite become null."""
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)
