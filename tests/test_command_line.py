"""The command line: every shipped choice composes, every mistake is one line, exit code 2, and no folder."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from vgg_cifar import command_line
from vgg_cifar.command_line import folders, guard, key_values, prepare
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import Config
from vgg_cifar.errors import UserError
from vgg_cifar.runs import placement
from vgg_cifar.runs.folder import RunFolder

SCRIPT = Path(__file__).resolve().parents[1] / "src" / "train.py"


WRONG = yaml.safe_load(Path(__file__).with_name("wrong_command_lines.yaml").read_text())


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], int]:
    """Type `python src/train.py ...` in this process, in an empty folder that is also where runs go."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(placement, "OUTPUTS", tmp_path / "outputs")
    spec = importlib.util.spec_from_file_location("train_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(arguments: list[str]) -> int:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        with pytest.raises(SystemExit) as ended:
            guard(script.main)
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_line_is_answered_in_one_line_with_exit_code_2_and_no_folder(
    line: str, typed: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = typed(shlex.split(line))
    said = capsys.readouterr()
    assert said.err == f"error: {WRONG[line]}\n"
    assert said.out == ""
    assert code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_traceback_of_a_mistake_is_shown_if_asked_for(
    typed: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert typed(["optimizer.lr=fast"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Traceback")
    assert said[-1] == "error: optimizer.lr: should be a valid number or 'auto', is 'fast'"


@pytest.mark.parametrize("line", ["data.root='a\nb\x1b[31m' data=synthetic", "name='a\nb'", f"tags={'[' * 2000}"])
def test_no_answer_has_a_second_line_or_steers_the_terminal(
    line: str, typed: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(line.split(" ")) == 2
    said = capsys.readouterr().err
    assert said.endswith("\n")
    assert said[:-1].isprintable()


def test_a_long_answer_is_cut_in_its_middle(
    typed: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed([f"seed={'a' * 5000}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: seed: should be a valid integer, is 'aaa")
    assert said.endswith("aaa'\n")
    assert len(said) < 1100


def test_what_the_file_system_refuses_is_one_line_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        guard(tmp_path.read_text)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: Is a directory\n"


def test_no_answer_repeats_a_password(
    typed: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    for line in ("logger=mlflow logger.tracking_uri=https://me:hunter2@host", "data.root=[https://me:hunter2@host/=]"):
        assert typed(line.split()) == 2
        assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("manifest.json", "{}"),
        ("manifest.json", '{"overrides": 5}'),
        ("manifest.json", '{"overrides": [], "tuned": []}'),
        ("manifest.json", '{"overrides": ["a\\nb="]}'),
        ("manifest.json", "[" * 100_000),
        ("config.yaml", "data: 5"),
        ("config.yaml", "data: {root: {}}"),
        ("config.yaml", "[" * 3000),
        ("config.yaml", "a: &a {b: *a}"),
    ],
    ids=lambda text: text[:40],
)
def test_a_damaged_run_does_not_go_on(
    file: str, content: str, train: Callable[..., RunFolder], typed: Callable[[list[str]], int],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = train("trainer.max_epochs=1")
    (folder.path / file).write_text(content)
    capsys.readouterr()
    assert typed([f"resume={folder.path}", "trainer.max_epochs=2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


def test_shipped_choices_are_checked_without_the_heavy_libraries() -> None:
    script = """
import sys
from vgg_cifar.command_line import prepare, register_resolvers
from vgg_cifar.errors import UserError
register_resolvers()
for typed in (
    "--help", "--cfg job experiment=original", "data=synthetic", "optimizer.lr=fast", "-m data=synthetic seed=0,1,x",
    "data=synthetic distillation=soft_targets distillation.teachers=[nowhere]",
    "-m seed=0,1 data=synthetic distillation=soft_targets distillation.teachers=[nowhere]",
):
    try:
        prepare(typed.split())
    except UserError as error:
        print("said:", error)
print("imported:", *sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=SCRIPT.parent, capture_output=True, text=True, check=True)
    imported = set(done.stdout.rpartition("imported:")[2].split())
    assert re.findall(r"said: (\S+) ", done.stdout) == [
        "optimizer.lr:", "seed:", "distillation.teachers:", "distillation.teachers:"
    ]  # fmt: skip
    assert "vgg_cifar.optimizer" in imported
    assert not imported & {
        "torch",
        "torchvision",
        "lightning",
        "torchmetrics",
        "numpy",
        "tensorboard",
        "wandb",
        "mlflow",
    }


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
        "error: optimizer.lr: should be a valid number or 'auto', is 'fast'",
    ]
    assert list(tmp_path.iterdir()) == []


def test_every_job_of_a_sweep_is_checked_before_the_first_starts() -> None:
    with pytest.raises(UserError, match=r"optimizer\.lr.*-1"):
        prepare(["-m", "data=synthetic", "optimizer.lr=0.1,0.2,-1"])


def test_a_sweep_does_not_go_on_with_a_run() -> None:
    with pytest.raises(UserError, match="resume: a sweep goes on by itself"):
        prepare(["-m", "seed=0,1", "resume=auto"])


def test_a_folder_that_holds_a_run_is_not_overwritten(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    with pytest.raises(UserError, match="holds a run already"):
        prepare([f"hydra.run.dir={folder.path}"])


@pytest.mark.parametrize("above", [1, 2])
def test_a_run_does_not_lie_above_others(train: Callable[..., RunFolder], tmp_path: Path, above: int) -> None:
    runs = tmp_path / "runs"
    folder = train("trainer.max_epochs=1")
    place = runs if above == 1 else runs / "one"
    place.mkdir(parents=True)
    folder.path.rename(place / "mine")
    with pytest.raises(UserError, match=rf"^hydra\.run\.dir: {runs} is a folder of runs; name a new one, such as "):
        prepare([f"hydra.run.dir={runs}"])
    prepare([f"hydra.run.dir={runs}/new"])


def test_a_run_goes_on_with_the_options_it_began_with(
    train: Callable[..., RunFolder], configure: Callable[..., Config]
) -> None:
    folder = train("optimizer=adam", "trainer.max_epochs=1")
    overrides = prepare([f"resume={folder.path}", "trainer.max_epochs=3"])
    composed = compose_and_check(overrides)
    assert composed.run_dir == folder.path
    expected = configure("optimizer=adam", "trainer.max_epochs=3", f"resume={folder.path}")
    assert composed.config == expected


def test_a_run_does_not_go_on_as_another_run(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1")
    with pytest.raises(UserError, match=r"optimizer\.lr: 0\.1 -> 0\.2"):
        prepare([f"resume={folder.path}", "optimizer.lr=0.2"])


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("optimizer.beta1=0.8", r"optimizer\.beta1: there is no such option"),
        ("optimizer.eps=1e-3", r"was trained with other options \(optimizer\.eps: 1e-08 -> 0\.001\)"),
        ("optimizer=sgd", r"was trained with other options \(.*optimizer\.name: adam -> sgd"),
        ("optimizer=rmsprop", r"was trained with other options \(.*optimizer\.name: adam -> rmsprop"),
    ],
)
def test_what_is_typed_beside_resume_is_about_the_runs_own_choices(
    train: Callable[..., RunFolder], typed: str, said: str
) -> None:
    folder = train("optimizer=adam", "optimizer.eps=1e-8", "trainer.max_epochs=1")
    prepare([f"resume={folder.path}", "optimizer=adam", "optimizer.eps=1e-8"])
    with pytest.raises(UserError, match=said):
        prepare([f"resume={folder.path}", typed])


def test_a_choice_of_an_experiment_typed_again_keeps_its_options(train: Callable[..., RunFolder]) -> None:
    recipe = ("experiment=speedrun", "compile=false", "schedule=cosine")
    own = (*recipe, "optimizer.lr=0.014", "optimizer.iterations=2", "trainer.max_epochs=1")
    folder = train(*own)
    prepare([f"resume={folder.path}", "optimizer=muon", "trainer=default", "trainer.max_epochs=2"])
    with pytest.raises(UserError, match=r"other options \(optimizer\.name: muon -> sgd;"):
        prepare([f"resume={folder.path}", "optimizer=sgd", "~optimizer.iterations"])


def test_what_is_shown_beside_resume_is_the_run_that_would_go_on(
    train: Callable[..., RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train("optimizer=adam", "trainer.max_epochs=1")
    capsys.readouterr()
    assert prepare(["--cfg", "job", f"resume={folder.path}", "trainer.max_epochs=3"]) is None
    assert "name: adam" in capsys.readouterr().out


def test_what_a_run_looks_at_may_change_when_it_goes_on(train: Callable[..., RunFolder]) -> None:
    folder = train("trainer.max_epochs=1", "evaluate=true")
    found = prepare([f"resume={folder.path}", "trainer.max_epochs=2", "evaluate=false", "logger=csv"])
    assert not compose_and_check(found).config.evaluate


@pytest.mark.parametrize(("epochs", "status"), [(1, "finished"), (2, "interrupted"), (2, "running")])
def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew(
    train: Callable[..., RunFolder], epochs: int, status: str
) -> None:
    folder = train(f"trainer.max_epochs={epochs}", "data.val_fraction=0")
    folder.write_result(folder.read_result() | {"status": status})
    folder.checkpoint("last").rename(folder.path / "moved.ckpt")
    folder.checkpoint("previous").unlink(missing_ok=True)
    said = rf"{folder.checkpoints} holds neither .* had come to epoch {epochs}; put them back"
    for typed in ([], ["trainer.max_epochs=3"]):
        with pytest.raises(UserError, match=said):
            prepare([f"resume={folder.path}", *typed])
    (folder.path / "moved.ckpt").rename(folder.checkpoint("previous"))
    assert prepare([f"resume={folder.path}"]) is not None


@pytest.mark.parametrize("within", ["checkpoints/last.ckpt", "config.yaml", "checkpoints"])
def test_what_lies_in_a_runs_folder_names_the_run(train: Callable[..., RunFolder], within: str) -> None:
    folder = train("trainer.max_epochs=1")
    with pytest.raises(UserError) as caught:
        prepare([f"resume={folder.path / within}"])
    said = f"{folder.path / within} (no config.yaml); did you mean resume={os.path.relpath(folder.path)}?"
    assert str(caught.value) == f"resume: there is no run in {said}"


@pytest.mark.parametrize("depth", ["first", "a/first", "a/b/first"])
def test_a_folder_of_runs_names_the_latest(train: Callable[..., RunFolder], tmp_path: Path, depth: str) -> None:
    train("trainer.max_epochs=1", to=f"runs/{depth}")
    latest = train("trainer.max_epochs=1", to="runs/latest")
    with pytest.raises(UserError) as caught:
        prepare([f"resume={tmp_path}/runs"])
    assert str(caught.value).endswith(f"; did you mean the latest in it, resume={os.path.relpath(latest.path)}?")


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_resume_names_a_folder_without_a_run(path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="resume: there is no run in"):
        prepare([f"resume={tmp_path / path}"])


def test_resume_auto_starts_afresh_where_there_is_nothing(tmp_path: Path) -> None:
    typed = ["data=synthetic", "resume=auto", f"hydra.run.dir={tmp_path}/runs/new"]
    assert prepare(typed) == typed


def test_resume_auto_finds_a_run_that_found_a_number_for_auto(
    train: Callable[..., RunFolder], tiny: list[str], tmp_path: Path
) -> None:
    folder = train("trainer.max_epochs=1", to="runs/one")
    auto = [*tiny, "optimizer.lr=auto", "resume=auto", "trainer.max_epochs=5", f"hydra.run.dir={tmp_path}/runs/new"]
    assert prepare(auto) == auto
    folder.write_manifest(folder.read_manifest() | {"tuned": {"optimizer.lr": 0.1}})
    found = prepare(auto)
    assert found is not None
    composed = compose_and_check(found)
    assert (composed.run_dir, composed.config.optimizer.lr) == (folder.path, 0.1)


def test_a_job_of_a_sweep_cannot_change_hydra_either(tmp_path: Path) -> None:
    for name, text in (("good", "seed: 1"), ("evil", "hydra: {job: {env_set: {LD_PRELOAD: evil.so}}}")):
        (tmp_path / "experiment").mkdir(exist_ok=True)
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    with pytest.raises(UserError, match=r"hydra\.job\.env_set\.LD_PRELOAD: is changed in a file"):
        prepare(["--config-dir", str(tmp_path), "-m", "experiment=good,evil"])


def test_resume_auto_finds_the_run_of_the_same_configuration(
    train: Callable[..., RunFolder], tiny: list[str], tmp_path: Path
) -> None:
    train("trainer.max_epochs=1", "optimizer=adam", to="runs/other")
    folder = train("trainer.max_epochs=1", to="runs/same")
    found = prepare([*tiny, "resume=auto", "trainer.max_epochs=5", f"hydra.run.dir={tmp_path}/runs/new"])
    assert compose_and_check(found).run_dir == folder.path


def test_a_launch_that_starts_again_goes_on_with_its_own_run_and_no_other(
    train: Callable[..., RunFolder], tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    folder = train("trainer.max_epochs=1")
    typed = [*tiny, "trainer.max_epochs=5", f"hydra.run.dir={folder.path}"]
    found = prepare(typed)
    assert found is not None
    assert compose_and_check(found).config.resume == str(folder.path)
    with pytest.raises(UserError, match=r"trained with other options \(seed: 0 -> 1\).* another id \(--rdzv-id\)$"):
        prepare([*typed, "seed=1"])
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "another")
    with pytest.raises(UserError, match="holds a run already"):
        prepare(typed)


@pytest.mark.parametrize("named", [True, False], ids=["by its folder", "as auto"])
def test_a_run_from_before_an_option_and_a_group_existed_goes_on(
    train: Callable[..., RunFolder], tiny: list[str], tmp_path: Path, named: bool
) -> None:
    folder = train("trainer.max_epochs=1", "augmentation=rotate", to="runs/old")
    older = folder.read_config()
    del older["resizing"], older["augmentation"]["policy"], older["data"]["memory"], older["checkpoint"]["every_steps"]
    folder.write_config(older)
    again = [*tiny, "augmentation=rotate", f"hydra.run.dir={tmp_path}/runs/new", "resume=auto"]
    found = prepare([f"resume={folder.path}", "trainer.max_epochs=5"] if named else again)
    assert compose_and_check(found).run_dir == folder.path


def test_a_wrong_value_of_a_large_sweep_is_met_before_all_its_combinations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = []
    original = command_line.compose_and_check
    monkeypatch.setattr(command_line, "compose_and_check", lambda job: checked.append(job) or original(job))
    with pytest.raises(UserError, match=r"^weight_decay\.value: .* is 'x'"):
        prepare(["-m", "data=synthetic", "seed=range(0,40)", "optimizer.lr=0.1,0.2", "weight_decay.value=0.1,x"])
    assert len(checked) < 40 + 2 + 2
    assert capsys.readouterr().err == "Checking the options of 160 jobs, 0 done ...\n"


def test_key_value_arguments_are_read_and_checked() -> None:
    assert key_values(["run=a=b"], {"run": None, "checkpoint": "best"}) == {"run": "a=b", "checkpoint": "best"}
    with pytest.raises(UserError, match="--run"):
        key_values(["--run=x"], {"run": None})
    with pytest.raises(UserError, match="runs=x"):
        key_values(["runs=x"], {"run": None})
    with pytest.raises(UserError, match=r"^run: was given more than once"):
        key_values(["run=a", "run=b"], {"run": None})


def test_a_choice_of_ones_own_with_a_shipped_ones_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    file = tmp_path / "optimizer" / "sgd.yaml"
    file.write_text("defaults: [adam]\n")
    with pytest.raises(UserError, match=f"{file}: has the name of a shipped choice, which is taken; give it another"):
        prepare(["--config-dir", str(tmp_path), "optimizer=sgd"])
    file.rename(file.with_name("mine.yaml"))
    found = prepare(
        ["--config-dir", str(tmp_path), "optimizer=mine", "data=synthetic", f"hydra.run.dir={tmp_path}/run"]
    )
    assert found is not None
    assert compose_and_check(found).config.optimizer.name == "adam"


def test_a_list_of_folders_may_be_one_with_a_comma_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    assert folders(f"{tmp_path}/a,b") == [f"{tmp_path}/a,b"]
    assert folders(f"[{tmp_path}/a, b]") == [f"{tmp_path}/a", "b"]
    assert folders(None) == folders(",") == []
    many = [f"{tmp_path}/{number}" for number in range(1000)]
    assert folders(",".join(many)) == many


def test_the_composition_is_shown_as_it_would_run(
    typed: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert typed(["--cfg", "job", "optimizer=adam"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown == compose_and_check(["optimizer=adam"]).raw | {"allow": []}
    assert list(tmp_path.iterdir()) == []
