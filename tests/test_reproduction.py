"""Reproduction: a run is made again from its folder, which is believed nothing, and compared."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vgg_cifar import reproduction, standalone
from vgg_cifar.command_line import complain
from vgg_cifar.composition import compose_and_check
from vgg_cifar.errors import UserError
from vgg_cifar.reproduction import reproduce
from vgg_cifar.runs.folder import RunFolder

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def pair(train: Callable[..., RunFolder], tmp_path: Path) -> tuple[RunFolder, str]:
    """A finished run, and where the same was run again."""
    train(to="again/run")
    return train(), str(tmp_path / "again" / "run")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What is started in the place of `src/train.py`, which here notes its arguments and ends as EXIT says."""
    script = tmp_path / "project" / "src" / "train.py"
    script.parent.mkdir(parents=True)
    script.write_text("import os, sys\nprint(sys.argv[1:])\nsys.exit(int(os.environ.get('EXIT', 75)))\n")
    monkeypatch.setattr(standalone, "PROJECT", tmp_path / "project")
    calls: list[list[str]] = []
    popen = subprocess.Popen

    def note(words: list[Any], **options: Any) -> Any:
        if str(script) in words:
            calls.append([str(word) for word in words[2:]])
        return popen(words, **options)

    monkeypatch.setattr(subprocess, "Popen", note)
    return calls


def contents(folder: RunFolder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def found(to: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(to) / "reproduction.json").read_text())
    return content


def test_a_run_is_made_again_to_the_last_bit_and_nothing_is_written_to_it(
    train: Callable[..., RunFolder], command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder = train("averaging=ema", "tags=['it\\'s', \"5 % of it\"]", "augmentation=rotate")
    before = contents(folder)
    to = tmp_path / "new" / "it's here"
    done = command("reproduce.py", f"run={folder.path}", f"to={to}")
    assert done.returncode == 0, done.stderr
    assert "Verdict: identical" in done.stdout
    assert contents(folder) == before
    assert found(str(to))["verdict"] == "identical"
    assert found(str(to))["weights"]["of"] > 60
    again = RunFolder(to)
    assert again.read_result()["status"] == "finished"
    assert again.read_config()["tags"] == folder.read_config()["tags"]
    assert not (tmp_path / "outputs").exists()


def test_a_run_that_was_made_again_is_compared_without_training(
    pair: tuple[RunFolder, str], started: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, to = pair
    assert reproduce(folder, to, []) == 0
    assert not started
    assert "Verdict: identical" in capsys.readouterr().out
    assert found(to)["metrics"]["test/top1"]["difference"] == 0


def test_a_changed_stored_metric_is_off(pair: tuple[RunFolder, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, to = pair
    result = folder.read_result()
    folder.write_result(result | {"test/top1": result["test/top1"] + 1 / 150})
    assert reproduce(folder, to, []) == 1
    assert "Verdict: off" in capsys.readouterr().out
    assert found(to)["metrics"]["test/top1"]["difference"] == pytest.approx(-1 / 150)


def test_what_is_not_as_it_was_is_said_before_anything_starts(
    train: Callable[..., RunFolder], started: list[list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = train("trainer.max_epochs=1")
    manifest = folder.read_manifest()
    manifest["git"] = {"commit": "0" * 40, "dirty": False}
    manifest["packages"] |= {"torch": "1.0\x1b[31m"}
    del manifest["hardware"]["threads"], manifest["data"]
    folder.write_manifest(manifest)
    capsys.readouterr()
    assert reproduce(folder, str(tmp_path / "new"), []) == 75
    said = capsys.readouterr().out
    for words in ("0000000000 ", "1.0\\x1b[31m", "not recorded", "the manifest has no checksums of the images"):
        assert words in said
    assert "\x1b" not in said
    assert len(started) == 1


def test_a_run_that_went_on_says_so(
    train: Callable[..., RunFolder], started: list[list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = train("trainer.max_epochs=1")
    train(f"resume={folder.path}", "trainer.max_epochs=3")
    manifest = folder.read_manifest()
    manifest["git"]["commit"] = "another"
    folder.write_manifest(manifest)
    capsys.readouterr()
    reproduce(folder, str(tmp_path / "new"), [])
    said = " ".join(capsys.readouterr().out.split())
    assert "the run went on 1 x, by 2 commits in all" in said
    assert "it went on with trainer.max_epochs=3, which the new one has from its start" in said
    (words,) = started
    assert compose_and_check(words).config.trainer.max_epochs == 3
    assert not [word for word in words if word.startswith("resume")]


def test_what_a_folder_may_not_say_is_not_taken_over(
    train: Callable[..., RunFolder], tiny: list[str], started: list[list[str]], tmp_path: Path
) -> None:
    folder = train("trainer.max_epochs=1")
    overrides = [*tiny, "trainer.max_epochs=1", "logger=mlflow", "logger.tracking_uri=http://evil.example"]
    overrides += ["hydra.run.dir=elsewhere", "hydra.job.env_set={A: b}", "allow=[evil]", "resume=auto"]
    folder.write_manifest(folder.read_manifest() | {"overrides": overrides})
    reproduce(folder, str(tmp_path / "new"), [])
    (words,) = started
    composed = compose_and_check(words)
    assert composed.run_dir == tmp_path / "new"
    assert composed.config.logger.name == "tensorboard"
    assert composed.config.resume is None
    assert not [word for word in words if word.startswith(("allow", "hydra.job"))]


def test_numbers_found_for_auto_are_taken_over(
    train: Callable[..., RunFolder], tiny: list[str], started: list[list[str]], tmp_path: Path
) -> None:
    folder = train("optimizer.lr=0.05")
    told = {"overrides": [*tiny, "optimizer.lr=auto"], "tuned": {"optimizer.lr": 0.05, "allow": 1}}
    folder.write_manifest(folder.read_manifest() | told)
    reproduce(folder, str(tmp_path / "new"), [])
    assert compose_and_check(started[0]).config.optimizer.lr == 0.05


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"overrides": None}, "overrides: Input should be a valid list"),
        ({"overrides": "seed=1"}, "overrides: Input should be a valid list"),
        ({"overrides": [5]}, "overrides.0: Input should be a valid string"),
        ({"overrides": ["seed=1"] * 100_000}, "more overrides, or longer ones, than a person types"),
        ({"overrides": [f"tags=[{'a' * 1_000_000}]"]}, "more overrides, or longer ones, than a person types"),
        ({"overrides": ["--multirun", "seed=0,1"]}, "'--multirun' is no override"),
        ({"overrides": ["--config-dir=/tmp"]}, "'--config-dir=/tmp' is no override"),
        ({"overrides": ["tags=[a\u202eb]"]}, "is no override"),
        ({"overrides": ["tags=[a\ud800b]"]}, "is no override"),
        ({"overrides": ["tags=[a\u0000b]"]}, "is no override"),
        ({"overrides": ["seed=1\nallow=[os]"]}, "is no override"),
        ({"overrides": ["hydra/launcher=evil"]}, "no longer makes the configuration"),
        ({"overrides": ["optimizer=custom", "optimizer._target_=os.system"]}, "optimizer._target_"),
        ({"overrides": ["model=custom", "model._target_=builtins.exec", "dropout=none"]}, "model._target_"),
        ({"overrides": ["optimizer=custom", "optimizer._target_=evil.Optimizer", "allow=[evil]"]}, "evil"),
        ({"overrides": ["seed=0,1"]}, "seed"),
        ({"overrides": ["data.root=//me:hunter2@host"]}, "holds an address"),
        ({"overrides": []}, "no longer makes the configuration in its config.yaml"),
        ({"tuned": {"optimizer.lr": "0.1"}}, "tuned.optimizer.lr: Input should be a valid"),
        ({"tuned": {"optimizer.lr": 0.2}}, "optimizer.lr: 0.1 -> 0.2"),
        ({"tuned": {"optimizer.lr": 10**400}}, "optimizer.lr"),
        ({"resumed": [{"command": ["python", "src/train.py", "seed=1"]}]}, "no longer makes the configuration"),
        ({"resumed": [5]}, "resumed.0: Input should be a valid dictionary"),
        ({"data": {"synthetic": "seed 1, 1 + 1 images"}}, "saw other images: the checksums of synthetic differ"),
    ],
    ids=lambda value: str(value)[:60].encode("ascii", "backslashreplace").decode(),
)
def test_a_hostile_or_damaged_manifest_is_one_line_and_starts_nothing(
    changes: dict[str, Any], line: str, train: Callable[..., RunFolder], started: list[list[str]],
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    folder = train("trainer.max_epochs=1")
    folder.manifest.write_text(json.dumps(folder.read_manifest() | changes))
    capsys.readouterr()
    with pytest.raises(UserError) as caught:
        reproduce(folder, str(tmp_path / "new"), [])
    complain(caught.value)
    said = capsys.readouterr()
    assert line in said.err
    assert said.err[:-1].isprintable()
    assert said.out == ""
    assert not started
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        ("manifest.json", None, "manifest.json is damaged or missing: overrides: Field required"),
        ("manifest.json", "{", "manifest.json cannot be read"),
        ("result.json", None, "is empty; only a finished run can be compared"),
        ("result.json", '{"status": "running"}', "is interrupted; only a finished run can be compared"),
        ("config.yaml", "data: 5", "no longer makes the configuration"),
    ],
)
def test_a_folder_that_is_no_finished_run_is_one_line(
    file: str, content: str | None, line: str, train: Callable[..., RunFolder], started: list[list[str]], tmp_path: Path
) -> None:
    folder = train("trainer.max_epochs=1")
    path = folder.path / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=line):
        reproduce(folder, str(tmp_path / "new"), [])
    assert not started


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("num_nodes", 2, "it was trained on 2 machines; start its command by their launcher"),
        ("devices", 60, "it was trained by 60 processes, more than this machine has cores"),
    ],
)
def test_a_run_that_this_machine_cannot_make_again_is_one_line(
    option: str, value: int, line: str, train: Callable[..., RunFolder], tiny: list[str], started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    folder = train("trainer.max_epochs=1")
    config = folder.read_config()
    config["trainer"][option] = value
    folder.write_config(config)
    told = [*tiny, "trainer.max_epochs=1", f"trainer.{option}={value}"]
    folder.write_manifest(folder.read_manifest() | {"overrides": told})
    with pytest.raises(UserError, match=line):
        reproduce(folder, str(tmp_path / "new"), [])
    assert not started


def test_the_new_folder_is_neither_the_run_nor_another_run(
    train: Callable[..., RunFolder], started: list[list[str]], tmp_path: Path
) -> None:
    folder, other = train("trainer.max_epochs=1"), train("trainer.max_epochs=1", "seed=5", to="other")
    for to in (folder.path, folder.path / "new"):
        with pytest.raises(UserError, match="is the run itself or within it"):
            reproduce(folder, str(to), [])
    with pytest.raises(UserError, match=r"holds another run \(seed differ\)"):
        reproduce(folder, str(other.path), [])
    assert not started


def test_an_interrupted_reproduction_goes_on(
    pair: tuple[RunFolder, str], started: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, to = pair
    again = RunFolder(to)
    again.write_result(again.read_result() | {"status": "interrupted"})
    assert reproduce(folder, to, []) == 75
    assert started == [[f"resume='{to}'"]]
    assert f"to={to} goes on" in capsys.readouterr().out


@pytest.mark.parametrize("code", [1, 2, 75])
def test_the_exit_code_of_a_run_that_did_not_finish_is_passed_on(
    code: int,
    train: Callable[..., RunFolder],
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("EXIT", str(code))
    assert reproduce(train("trainer.max_epochs=1"), str(tmp_path / "new"), []) == code
    assert len(started) == 1


def test_a_launchers_variables_stay_outside(
    train: Callable[..., RunFolder], started: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = train("trainer.max_epochs=1")
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")
    script = standalone.PROJECT / "src" / "train.py"
    script.write_text(f"import os\nprint('left:', sorted({set(names)} & set(os.environ)))\nraise SystemExit(75)\n")
    for name in names:
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr(reproduction, "make_trainer", lambda *_: (None, {"ranks": 1}))
    reproduce(folder, str(tmp_path / "new"), [])
    assert "left: []" in capfd.readouterr().out
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UserError, match="starts its ranks itself"):
        reproduce(folder, str(tmp_path / "new"), [])


def test_the_spread_of_other_seeds_beside_a_run_is_its_yardstick(
    train: Callable[..., RunFolder], tmp_path: Path
) -> None:
    options = ("trainer.max_epochs=1", "data.val_fraction=0", "data.train_size=100")
    folder, again = train(*options, to="sweep/0"), train(*options, to="again/run")
    others = [train(*options, f"seed={seed}", to=f"sweep/{seed}") for seed in (1, 2, 3, 4)]
    train(*options, "label_smoothing=0.1", "seed=5", to="sweep/another")
    for run, accuracy in zip(others, (0.50, 0.52, 0.54, 0.56), strict=True):
        run.write_result(run.read_result() | {"test/top1": accuracy})
    (folder.path.parent / "damaged").mkdir()
    (folder.path.parent / "damaged" / "config.yaml").write_text("[")
    reproduce(folder, str(again.path), [])
    assert found(str(again.path))["yardstick"] is None  # none is needed, so none is looked for
    folder.write_result(folder.read_result() | {"test/top1": 0.4})
    reproduce(folder, str(again.path), [])
    assert "from 4 runs with other seeds" in found(str(again.path))["yardstick"]


@pytest.mark.soak
def test_sigterm_ends_the_run_and_the_same_command_goes_on(train: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder = train("trainer.max_epochs=30")
    words = [sys.executable, PROJECT / "src" / "reproduce.py", f"run={folder.path}", f"to={tmp_path / 'new'}"]
    process = subprocess.Popen(words, cwd=tmp_path)
    while not RunFolder(tmp_path / "new").checkpoint("last").is_file():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75
    assert RunFolder(tmp_path / "new").read_result()["status"] == "interrupted"
    assert subprocess.call(words, cwd=tmp_path) == 0
    assert found(str(tmp_path / "new"))["verdict"] == "identical"


@pytest.mark.soak
def test_a_run_of_two_ranks_is_made_again(
    command: Callable[..., subprocess.CompletedProcess[str]], tiny: list[str], tmp_path: Path
) -> None:
    typed = [*tiny, "trainer.devices=2", f"hydra.run.dir={tmp_path}/runs/two"]
    assert command("train.py", *typed).returncode == 0
    done = command("reproduce.py", f"run={tmp_path}/runs/two", f"to={tmp_path}/new")
    assert done.returncode == 0, done.stdout + done.stderr
    assert found(str(tmp_path / "new"))["verdict"] == "identical"
