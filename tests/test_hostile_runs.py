"""A run's folder that somebody else has made, or a disk has damaged: a line, soon, and nothing in it is run."""

import os
import pickle
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest
import torch
from scripts import script

from vgg_cifar import limits
from vgg_cifar.command_line import guard, prepare
from vgg_cifar.composition import compose_and_check
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.training import run

TEXTS = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "a word": b'"word"',
    "no text": b"\xff\xfe\x00\x01",
    "zeros": bytes(1000),
    "half": b'{"overrides": ["seed=1", ',
    "a huge number": b'{"overrides": 1' + b"0" * 100_000 + b"}",
    "no number": b'{"overrides": [NaN, Infinity], "step": NaN, "hardware": NaN, "resumed": NaN}',
    "wrong kinds": b'{"overrides": [1, null, {}], "hardware": [1], "resumed": {}, "tuned": {"optimizer.lr": "x"}}',
    "deep": b"[" * 200_000,
    "deep tables": b'{"a":' * 20_000,
    "ever more": b"a0: &a0 [a]\n"
    + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b"*a%d," % (n - 1) * 10) for n in range(1, 9)),
    "holds itself": b"a: &a [*a]",
    "code": b"a: !!python/object/apply:os.system ['touch marker']",
}  # fmt: skip
KINDS = ("folder", "pipe", "link to itself", "link to nowhere", "device", "huge")
IMAGE = Path(__file__).resolve().parents[1] / "docs" / "images" / "dashboard" / "images.png"
FILES = ("config.yaml", "manifest.json", "result.json", "metrics.csv")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of one epoch, to be copied."""
    typed = [
        "data=synthetic", "data.train_size=200", "data.test_size=100", "data.batch_size=50", "model=vgg11_bn",
        "model.width=0.0625", "model.hidden=[]", "trainer.accelerator=cpu", "trainer.precision=32-true",
        "trainer.max_epochs=1", "logger=csv", "evaluate=false",
    ]  # fmt: skip
    folder = RunFolder(tmp_path_factory.mktemp("original") / "run")
    assert run(compose_and_check(typed).config, folder, typed) == 0
    return folder


@pytest.fixture
def folder(original: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of it, to be damaged; the tests stand beside it."""
    shutil.copytree(original.path, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(limits, "SECONDS", 1)
    return RunFolder(tmp_path / "run")


class Hung(BaseException):
    """A command has waited for what never comes."""


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


Answer = tuple[int, str]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Type a command in this process: its exit code, and what it said on standard error."""

    def train(words: list[str]) -> int:
        overrides = prepare(words)
        assert overrides is not None
        composed = compose_and_check(overrides)
        folder = RunFolder(composed.run_dir)
        try:
            return run(composed.config, folder, overrides)
        finally:
            folder.discard_unless_begun()

    def evaluate(words: list[str]) -> int:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *words])
        code: int = script("evaluate").main()
        return code

    def predict(words: list[str]) -> int:
        monkeypatch.setattr(sys, "argv", ["predict.py", *words])
        code: int = script("predict").main()
        return code

    def export(words: list[str]) -> int:
        monkeypatch.setattr(sys, "argv", ["export.py", *words])
        code: int = script("export").main()
        return code

    def start(name: str, *words: str) -> Answer:
        command = {"train": train, "evaluate": evaluate, "predict": predict, "export": export}[name]
        with pytest.raises(SystemExit) as ended:
            guard(lambda: command(list(words)))
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    return start


def commands(folder: RunFolder) -> dict[str, list[str]]:
    return {
        "going on": ["train", f"resume={folder.path}", "trainer.max_epochs=2"],
        "evaluating": ["evaluate", f"run={folder.path}", "report=false"],
        "predicting": ["predict", f"run={folder.path}", f"images={IMAGE}"],
        "exporting": ["export", f"run={folder.path}", "format=safetensors", "speed=false"],
        "starting": [
            "train", "data=synthetic", "data.train_size=200", "trainer.accelerator=cpu",
            f"model.weights={folder.checkpoint('best')}", f"hydra.run.dir={folder.path.parent}/new",
        ],
    }  # fmt: skip


def in_its_place(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        with path.open("w") as file:
            file.truncate(2**40)
    else:
        path.symlink_to({"link to itself": path, "link to nowhere": "nowhere", "device": "/dev/zero"}[kind])


def well_answered(answer: Answer) -> bool:
    """Taken, or refused in a line."""
    code, said = answer
    return code == 0 or (code == 2 and said.startswith("error: ") and said.endswith("\n") and said[:-1].isprintable())


SOME = [("config.yaml", "ever more"), ("manifest.json", "deep"), ("result.json", "pipe"), ("metrics.csv", "no text")]
ALL = [(file, damage) for file in FILES for damage in (*TEXTS, *KINDS)]


@pytest.mark.parametrize("command", ["going on", "evaluating", "predicting", "exporting"])
@pytest.mark.parametrize(
    ("file", "damage"), [*SOME, *(pytest.param(*each, marks=pytest.mark.soak) for each in ALL if each not in SOME)]
)
def test_whatever_a_file_of_a_run_has_become_the_answer_is_a_line_or_the_work_is_done(
    folder: RunFolder, typed: Callable[..., Answer], file: str, damage: str, command: str, figure: Callable[..., None]
) -> None:
    if damage in TEXTS:
        (folder.path / file).write_bytes(TEXTS[damage])
    else:
        in_its_place(folder.path / file, damage)
    answer = typed(*commands(folder)[command])
    assert well_answered(answer), answer
    assert not (folder.path.parent / "marker").exists()
    figure("damaged or hostile files of a run: one line, or the work was done", 1)


class Command:
    """Pickled, this is an order to the shell when it is read."""

    def __init__(self, line: str) -> None:
        self.line = line

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.line,)


def write_code(path: Path, form: str, marker: Path) -> None:
    """A checkpoint that runs a command when it is read as a pickle may be."""
    command = Command(f"touch '{marker}'")
    content = torch.load(path, weights_only=True) if path.exists() else {"state_dict": {}}
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(command))
    else:
        torch.save(content | {"extra": command}, path, _use_new_zipfile_serialization=form == "among tensors")


@pytest.mark.parametrize("form", ["among tensors", "old form", "plain pickle"])
@pytest.mark.parametrize("command", ["going on", "evaluating", "predicting", "exporting", "starting"])
def test_code_in_a_checkpoint_is_refused_and_not_run(
    folder: RunFolder,
    typed: Callable[..., Answer],
    command: str,
    form: str,
    tmp_path: Path,
    figure: Callable[..., None],
) -> None:
    marker = tmp_path / "the command has run"
    for name in ("last", "best"):
        write_code(folder.checkpoint(name), form, marker)
    code, said = typed(*commands(folder)[command])
    (line,) = said.splitlines()
    assert code == 2
    assert ".ckpt is refused: it is damaged, or holds more than plain" in line
    assert not marker.exists()
    assert not (tmp_path / "new").exists()
    with suppress(RuntimeError):
        torch.load(folder.checkpoint("best"), weights_only=False)  # the command was a live one
    assert marker.exists()
    figure("files with a live command in them: refused, the command not run", 1)


def swell(path: Path) -> None:
    """Make a checkpoint small on disk whose one tensor is 64 MB when it is unpacked."""
    torch.save({"state_dict": {"x": torch.zeros(2**24)}, "epoch": 0, "global_step": 1}, path)
    with zipfile.ZipFile(path) as file:
        members = {each: file.read(each) for each in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)


@pytest.mark.parametrize("command", ["going on", "evaluating", "predicting", "exporting", "starting"])
def test_a_checkpoint_that_swells_when_it_is_unpacked_is_refused_before_that(
    folder: RunFolder, typed: Callable[..., Answer], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("last", "best"):
        swell(folder.checkpoint(name))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch has unpacked it"))
    code, said = typed(*commands(folder)[command])
    (line,) = said.splitlines()
    assert code == 2
    assert ".ckpt is refused: it is damaged" in line


@pytest.mark.parametrize("kind", ["pipe", "link to itself", "link to nowhere", "device"])
@pytest.mark.parametrize("command", ["going on", "evaluating", "predicting", "exporting"])
def test_a_checkpoint_that_is_no_file_is_not_waited_for(
    folder: RunFolder, typed: Callable[..., Answer], command: str, kind: str
) -> None:
    for name in ("last", "best"):
        in_its_place(folder.checkpoint(name), kind)
    answer = typed(*commands(folder)[command])
    assert well_answered(answer), answer


def test_a_lock_that_was_laid_as_a_trap_overwrites_nothing(
    folder: RunFolder, typed: Callable[..., Answer], tmp_path: Path
) -> None:
    (tmp_path / "victim").write_text("dear")
    (folder.path / ".lock").unlink(missing_ok=True)
    (folder.path / ".lock").symlink_to(tmp_path / "victim")
    answer = typed(*commands(folder)["going on"])
    assert well_answered(answer), answer
    assert (tmp_path / "victim").read_text() == "dear"


@pytest.mark.parametrize(
    "name",
    [
        "train.log",
        "metrics.csv",
        "checkpoints/last.ckpt",
        "checkpoints",
        "tensorboard",
        "evaluation",
        "evaluation/figures",
    ],
)
@pytest.mark.parametrize("command", ["going on", "evaluating", "predicting", "exporting"])
def test_a_link_in_a_run_folder_is_refused_and_nothing_written_through_it(
    folder: RunFolder, typed: Callable[..., Answer], command: str, name: str, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("dear")
    path = folder.path / name
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        path.rename(tmp_path / "aside")
    path.unlink(missing_ok=True)
    path.symlink_to(victim)
    code, said = typed(*commands(folder)[command])
    (line,) = said.splitlines()
    assert code == 2
    assert f"{path} is a link" in line
    assert victim.read_text() == "dear"
