"""How the jobs of a sweep are run: `hydra.launcher.*`."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from vgg_cifar.errors import UserError
from vgg_cifar.options import Count, Options, in_one_line

PREFIX = "launcher."


class LauncherOptions(Options):
    """What `conf/hydra/launcher/isolated.yaml` holds, but for the launcher's class."""

    jobs: Count | None
    """Jobs at a time; null: one per GPU, or one on a CPU. On a CPU they share its threads, more jobs than GPUs share
    those."""
    stop_at_failure: bool
    """Whether the first job that fails stops the others; they can go on later."""
    mix_versions: bool
    """Whether a sweep that other code, packages or data began may go on."""


def launcher_options(settings: dict[str, Any]) -> LauncherOptions:
    """Check the launcher's part of Hydra's settings.

    Args:
        settings: those of Hydra, by dotted key.

    Raises:
        UserError: naming the option that is wrong.
    """
    named = {key.removeprefix(PREFIX): value for key, value in settings.items() if key.startswith(PREFIX)}
    given = {name: named[name] for name in LauncherOptions.model_fields if name in named}
    try:
        return LauncherOptions.model_validate(given)
    except ValidationError as error:
        raise UserError(f"hydra.launcher.{in_one_line(error, given, LauncherOptions)}") from error
