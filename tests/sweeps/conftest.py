"""A job's process is a pretended run here, but for tests that type real commands."""

import threading
from collections.abc import Callable, Iterator

import pretended
import pytest
from pretended import wait_until

from vgg_cifar import standalone


@pytest.fixture(autouse=True)
def pretending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone, "command", pretended.command)


@pytest.fixture
def when() -> Iterator[Callable[[Callable[[], object], Callable[[], object]], None]]:
    """Do something as soon as something is so, while a sweep runs."""
    threads: list[threading.Thread] = []
    errors: list[BaseException] = []

    def start(condition: Callable[[], object], action: Callable[[], object]) -> None:
        def watch() -> None:
            try:
                wait_until(condition)
                action()
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=watch))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()
    assert errors == []
