"""A job's process is a pretended run here, but for tests that type real commands."""

import pretended
import pytest

from vgg_cifar import standalone


@pytest.fixture(autouse=True)
def pretending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone, "command", pretended.command)
