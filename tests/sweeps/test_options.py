"""How the jobs of a sweep are run, as it is typed."""

from typing import Any

import pytest
import yaml
from scripts import SOURCES

from vgg_cifar.composition import compose_and_check
from vgg_cifar.errors import UserError
from vgg_cifar.sweeps.options import LauncherOptions, launcher_options

SHIPPED = SOURCES.parent / "conf" / "hydra" / "launcher" / "isolated.yaml"


def typed(*overrides: str) -> LauncherOptions:
    return launcher_options(compose_and_check([*overrides]).hydra)


def test_the_shipped_file_holds_every_option_and_no_other() -> None:
    content: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    del content["_target_"]
    assert LauncherOptions(**content) == typed()
    assert content.keys() == LauncherOptions.model_fields.keys()


def test_options_are_taken_from_the_command_line() -> None:
    options = typed("hydra.launcher.jobs=3", "hydra.launcher.stop_at_failure=true")
    assert options == LauncherOptions(jobs=3, stop_at_failure=True, mix_versions=False)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("hydra.launcher.jobs=0", r"hydra\.launcher\.jobs: should be greater than or equal to 1, is 0"),
        ("hydra.launcher.jobs=two", r"hydra\.launcher\.jobs: should be a valid integer, is 'two'"),
        ("hydra.launcher.jobs=1.5", r"hydra\.launcher\.jobs: .*1\.5"),
        ("hydra.launcher.stop_at_failure=null", r"hydra\.launcher\.stop_at_failure: should be a valid boolean"),
        ("hydra.launcher.mix_versions=3", r"hydra\.launcher\.mix_versions: should be a valid boolean, is 3"),
    ],
)
def test_a_wrong_one_is_named(override: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        typed(override)
