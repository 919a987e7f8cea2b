"""Doing without the study for a while, when its database cannot be reached."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vgg_cifar.errors import RunError

PATIENCE_SECONDS = 600.0
"""How long the database may be away before the search stops, to go on later."""


class Patience:
    """Bears with a study that does not answer, and keeps what is to be told to it.

    Attributes:
        at_end: the answer that it was too much in the end; None while there is hope.

    Args:
        say: tells a person something.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.at_end: RunError | None = None
        self._say = say
        self._since: float | None = None
        self._to_tell: deque[Callable[[], None]] = deque()

    @property
    def is_away(self) -> bool:
        """Whether the study did not answer when it was last asked."""
        return self._since is not None

    @contextmanager
    def borne(self) -> Iterator[None]:
        """Leave the rest of this block undone if the study does not answer."""
        try:
            yield
            self._since = None
        except RunError as error:
            if self._since is None:
                self._since = time.monotonic()
                self._say(f"{error}; what runs goes on")
            elif time.monotonic() - self._since > PATIENCE_SECONDS:
                self.at_end = error

    def tell(self, call: Callable[[], None]) -> None:
        """Have something told to the study, now or later, in turn."""
        self._to_tell.append(call)

    def has_something_to_tell(self) -> bool:
        """Whether the study does not know everything yet."""
        return bool(self._to_tell)

    def tell_all(self) -> None:
        """Tell what is to be told.

        Raises:
            RunError: if the study does not answer; what it has not heard stays to be told.
        """
        while self._to_tell:
            self._to_tell[0]()
            self._to_tell.popleft()
