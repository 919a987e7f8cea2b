"""How the jobs of a sweep are run, as it is typed."""

from typing import Any

import pytest
import yaml
from scripts import SOURCES

from vgg_cifar.composition import compose_and_check
from vgg_cifar.errors import UserError
from vgg_cifar.sweeps.options import LauncherOptions, SlurmOptions, launcher_options

SHIPPED = SOURCES.parent / "conf" / "hydra" / "launcher"


def typed(*overrides: str) -> LauncherOptions:
    return launcher_options(compose_and_check([*overrides]).hydra["launcher"])


@pytest.mark.parametrize(("choice", "options"), [("isolated", LauncherOptions), ("slurm", SlurmOptions)])
def test_the_shipped_file_holds_every_option_and_no_other(choice: str, options: type[LauncherOptions]) -> None:
    content: dict[str, Any] = yaml.safe_load((SHIPPED / f"{choice}.yaml").read_text())
    del content["_target_"]
    assert options(**content) == typed(f"hydra/launcher={choice}")
    assert content.keys() == options.model_fields.keys()


def test_without_a_word_the_jobs_run_here() -> None:
    assert type(typed()) is LauncherOptions


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


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("partition='a b'", r"hydra\.launcher\.partition: should match pattern"),
        ("account='a\n#SBATCH --wrap=x'", r"hydra\.launcher\.account: should match pattern"),
        ("constraint='a\n'", r"hydra\.launcher\.constraint: should match pattern"),
        ("time=0", r"hydra\.launcher\.time: should be greater than or equal to 1, is 0"),
        ("requeues=-1", r"hydra\.launcher\.requeues: should be greater than or equal to 0, is -1"),
        ("extra=['--comment=a\nb']", r"hydra\.launcher\.extra\.0: should match pattern"),
        ("extra=['--exclusive','-N2']", r"hydra\.launcher\.extra\.1: should match pattern .*, is '-N2'"),
        ("extra=['--output=/etc/passwd']", r"hydra\.launcher\.extra: --output is the sweep's own"),
    ],
)
def test_a_wrong_one_of_slurm_is_named(override: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        typed("hydra/launcher=slurm", f"hydra.launcher.{override}")
