"""What a signal does to a run: while it trains, the step is finished and saved first; else it ends at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vgg_cifar.errors import STOPPING, Interrupted
from vgg_cifar.runs.placement import rank


class Signals(Callback):
    """Takes signals, and keeps them from Lightning.

    Attributes:
        asked: the name of the signal that the run will obey at the next step; a second one is obeyed at once.
    """

    def __init__(self) -> None:
        self.asked: str | None = None
        self._patient = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take signals within this block."""
        before = {number: signal.getsignal(number) for number in STOPPING}
        for number, handler in before.items():
            if number != signal.SIGHUP or handler is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._obey)
        if rank() != 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: rank 0 obeys it
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep them: Lightning would end a process with exit code 0, and hang several."""
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        # With several ranks it would also send them rank 0's flag at every step, and wait until it is there.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on there is something to save."""
        self._patient = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Everything is saved."""
        self._patient = False
        if self.asked:
            raise Interrupted(self.asked)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """There is no next step."""
        self._patient = False

    def _obey(self, number: int, frame: Any) -> None:
        name = signal.Signals(number).name
        if not self._patient or self.asked:
            raise Interrupted(name)
        self.asked = name
