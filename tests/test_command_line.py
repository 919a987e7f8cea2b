"""The command line: every shipped choice composes, every mistake is one line, exit code 2, and no folder."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vgg_cifar.command_line import CONF, compose_and_check, key_values, prepare
from vgg_cifar.config import Config
from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import RunFolder

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ("hydra", "experiment"))
CHOICES = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]
EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_shipped_choice_composes(group: str, choice: str) -> None:
    config = compose_and_check([f"{group}={choice}"])[1]
    options = getattr(config, group)
    if hasattr(options, "name"):
        assert options.name == choice


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_under_its_own_name(experiment: str) -> None:
    assert compose_and_check([f"experiment={experiment}"])[1].name == experiment


def test_the_defaults_are_those_that_the_documentation_promises() -> None:
    config = compose_and_check([])[1]
    chosen = [getattr(config, group).name for group in GROUPS if group not in ("trainer", "logger")]
    expected = {
        "augmentation": "standard",
        "averaging": "none",
        "data": "cifar100",
        "dropout": "head",
        "model": "vgg16_bn",
        "optimizer": "sgd",
        "schedule": "cosine",
        "weight_decay": "standard",
    }
    assert chosen == list(expected.values())


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("optimizer.lr=-1", "optimizer.lr"),
        ("optimizer.lr=fast", "optimizer.lr"),
        ("+optimizer.learning_rate=1", "optimizer.learning_rate"),
        ("optimizer.momentum=1.0", "optimizer.momentum"),
        ("optimizer.betas=[0.9]", "betas"),
        ("data.batch_size=0", "data.batch_size"),
        ("data.batch_size=12.5", "data.batch_size"),
        ("data.val_fraction=1.0", "data.val_fraction"),
        ("data.mean=[0.5,0.5]", "data.mean"),
        ("model.depth=12", "model.depth"),
        ("model.hidden=[0]", "model.hidden"),
        ("model.pool=median", "model.pool"),
        ("schedule.warmup=1.5", "schedule.warmup"),
        ("dropout.p=1", "dropout.p"),
        ("weight_decay.value=-0.1", "weight_decay.value"),
        ("trainer.max_epochs=0", "trainer.max_epochs"),
        ("trainer.precision=8", "trainer.precision"),
        ("+trainer.max_epoch=3", "trainer.max_epoch"),
        ("trainer.devices=-1", "trainer.devices"),
        ("seed=-1", "seed"),
        ("name=../elsewhere", "name"),
        ("tags=[1]", "tags"),
        ("trainer.max_epoch=3", "max_epoch"),
        ("optimizer=sdg", "sdg"),
        ("optimiser=sgd", "optimiser"),
        ("data.batch_size", "data.batch_size"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(override: str, path: str) -> None:
    with pytest.raises(UserError) as caught:
        compose_and_check([override])
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["optimizer.momentum=0"], "optimizer.nesterov=false"),
        (["trainer.sync_batchnorm=true", "trainer.accelerator=cpu"], "trainer.accelerator=gpu"),
        (["trainer.precision=16-mixed", "trainer.accelerator=cpu"], "bf16-mixed"),
        (["trainer.accelerator=mps", "trainer.devices=2"], "set it to 1"),
        (["early_stopping.patience=3", "data.val_fraction=0"], "data.val_fraction=0.1"),
        (["trainer.devices=4", "trainer.accumulate_grad_batches=4", "data.batch_size=15"], "raise it"),
        (["schedule=multistep", "schedule.milestones=[0.8,0.3]"], "ascend"),
    ],
)
def test_options_that_exclude_each_other_name_the_one_to_change(overrides: list[str], remedy: str) -> None:
    with pytest.raises(UserError, match=remedy.replace(".", r"\.")):
        compose_and_check(overrides)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("trainer.max_epoch=3", "trainer.max_epoch: there is no such option; did you mean trainer.max_epochs?"),
        ("optimizer=sdg", "optimizer: there is no choice sdg, only adam, adamw, rmsprop, sgd"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(override: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        compose_and_check([override])
    assert str(caught.value) == line


def test_missing_images_are_one_line_with_exit_code_2_and_leave_no_folder(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command("train.py", f"data.root={tmp_path}/nowhere", f"hydra.run.dir={tmp_path}/runs/run")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    for words in ("data.root", "cifar-100-python.tar.gz", "data=synthetic"):
        assert words in line
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_one_line_with_exit_code_2_and_leaves_no_folder(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command("train.py", "optimizer.lr=fast", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: optimizer.lr: should be a valid number, is 'fast'",
    ]
    assert list(tmp_path.iterdir()) == []


def test_every_job_of_a_sweep_is_checked_before_the_first_starts() -> None:
    with pytest.raises(UserError, match=r"optimizer\.lr.*-1"):
        prepare(["-m", "data=synthetic", "optimizer.lr=0.1,0.2,-1"])


def test_a_sweep_over_several_processes_is_refused() -> None:
    with pytest.raises(UserError, match=r"trainer\.devices: 2"):
        prepare(["-m", "trainer.devices=1,2"])


def test_a_sweep_does_not_go_on_with_a_run() -> None:
    with pytest.raises(UserError, match="resume: a sweep starts every job afresh"):
        prepare(["-m", "seed=0,1", "resume=auto"])


def test_a_job_that_fails_does_not_stop_the_sweep_and_shows_in_its_exit_code(
    command: Callable[..., subprocess.CompletedProcess[str]], tiny: list[str], tmp_path: Path
) -> None:
    weights = tmp_path / "nothing.pth"
    done = command("train.py", "-m", *tiny, f"model.weights={weights},null", f"hydra.sweep.dir={tmp_path}/sweep")
    assert done.returncode == 2, done.stderr
    assert f"error: model.weights: there is no file {weights}" in done.stderr
    assert [path.name for path in sorted((tmp_path / "sweep").glob("*/"))] == ["1"]
    assert RunFolder(tmp_path / "sweep" / "1").read_result()["status"] == "finished"


def test_a_folder_that_holds_a_run_is_not_overwritten(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    with pytest.raises(UserError, match="holds a run already"):
        prepare([f"hydra.run.dir={folder.path}"])


def test_a_run_goes_on_with_the_options_it_began_with(
    train: Callable[..., RunFolder], configure: Callable[..., Config]
) -> None:
    folder = train("optimizer=adam", "trainer.max_epochs=1")
    overrides = prepare([f"resume={folder.path}", "trainer.max_epochs=3"])
    _, config, run_dir = compose_and_check(overrides)
    assert run_dir == folder.path
    expected = configure("optimizer=adam", "trainer.max_epochs=3", f"resume={folder.path}")
    assert config == expected


def test_a_run_does_not_go_on_as_another_run(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    with pytest.raises(UserError, match=r"optimizer\.lr: 0\.1 -> 0\.2"):
        prepare([f"resume={folder.path}", "optimizer.lr=0.2"])


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_resume_names_a_folder_without_a_run(path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="resume: there is no run in"):
        prepare([f"resume={tmp_path / path}"])


def test_resume_auto_starts_afresh_where_there_is_nothing(tmp_path: Path) -> None:
    typed = ["data=synthetic", "resume=auto", f"hydra.run.dir={tmp_path}/runs/new"]
    assert prepare(typed) == typed


def test_resume_auto_finds_the_run_of_the_same_configuration(
    train: Callable[..., RunFolder], tiny: list[str], tmp_path: Path
) -> None:
    train("trainer.max_epochs=1", "optimizer=adam", to="runs/other")
    folder = train("trainer.max_epochs=1", to="runs/same")
    found = prepare([*tiny, "resume=auto", "trainer.max_epochs=5", f"hydra.run.dir={tmp_path}/runs/new"])
    assert compose_and_check(found)[2] == folder.path


def test_key_value_arguments_are_read_and_checked() -> None:
    assert key_values(["run=a=b"], {"run": None, "checkpoint": "best"}) == {"run": "a=b", "checkpoint": "best"}
    with pytest.raises(UserError, match="--run"):
        key_values(["--run=x"], {"run": None})
    with pytest.raises(UserError, match="runs=x"):
        key_values(["runs=x"], {"run": None})


def test_help_and_composition_can_be_shown(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    shown = command("train.py", "--cfg", "job", "optimizer=adam")
    assert shown.returncode == 0
    assert "name: adam" in shown.stdout
