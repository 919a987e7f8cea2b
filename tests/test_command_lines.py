"""Command lines made at random, sane and mad: each is taken, or answered in one line with exit code 2."""

import os
import shlex
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from scripts import SOURCES, script

from vgg_cifar.choices import group_choices, groups
from vgg_cifar.command_line import guard, prepare
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import Config
from vgg_cifar.options import flat, keys, spelled
from vgg_cifar.runs import placement
from vgg_cifar.runs.folder import RunFolder

MANY = pytest.param(2000, marks=pytest.mark.soak)

NUMBERS = [
    "0", "1", "-1", "3", "0.5", "1e-3", "1e999", "nan", "inf", "-inf", "-0.0", "9" * 40, "9" * 5000, "0x10", "1_0",
]  # fmt: skip
WORDS = [
    "null", "true", "false", "auto", "???", "sgd", "a/b", "..", "~", "--", "-", "@", ":", ",", "=", "$", "'", '"',
    "\\",
]  # fmt: skip
LISTS = [
    "[]", "{}", "[1,2]", "[0.5,0.5,0.5]", "{a: 1}", "[[1]]", "[a,{b: [c]}]", "[1,", "}", "{a:{b:{c: 1}}}", "[" * 300,
]  # fmt: skip
INTERPOLATIONS = [
    "${seed}", "${data.batch_size}", "${nope}", "${data}", "${oc.env:HOME}", "${oc.env:NOPE}", "${oc.env:NOPE,1}",
    "${", "${oc.decode:'[1'}", "${oc.select:a,b}", "${run_id:}", "${outputs:}", "${hydra:job.num}",
    "${hydra.job.name}", "${x:1}", "${.lr}", "${..seed}", "${oc.dict.keys:data}", "${oc.create:{a: 1}}", "\\${seed}",
    "${${seed}}", "${name}${name}",
]  # fmt: skip
UNICODE = [
    "é", "数", "\u202eabc", "\u200b", "a\u0301", "\U0001f600", "\ufeff", "\x7f", "\x1b[31m", "\t", "\n", "\r",
    "\udcff",
]  # fmt: skip
LONG = ["a" * 300, "a" * 5000, ".".join("a" * 500), "[" + ",".join("1" * 300) + "]", "a," * 50]
SWEEPS = [
    "1,2", "0.1,x", "range(3)", "range(3,0)", "choice(1,2)", "interval(0,1)", "glob(*)", "shuffle(1,2)", "sort(2,1)",
    ",",
]  # fmt: skip
FUNCTIONS = [
    "int(1.5)", "int(x)", "str(1)", "float(a)", "bool(2)", "json_str(1)", "extend_list(1)", "tag(a,1)", "cast(1)",
]  # fmt: skip
VALUES = [NUMBERS, WORDS, LISTS, INTERPOLATIONS, UNICODE, LONG, SWEEPS, FUNCTIONS, [""]]

FLAGS = [
    ["-m"], ["--multirun"], ["--run"], ["-r"], ["--cfg", "job"], ["--cfg", "all"], ["--cfg"], ["-c", "job"],
    ["--resolve"], ["--help"], ["-h"], ["--help", "optimizer"], ["--hydra-help"], ["--version"], ["--info"],
    ["--info", "all"], ["--package", "x"], ["-p", "x"], ["--config-path", "x"], ["--config-name", "x"], ["-cn", "x"],
    ["-cd", "."], ["--config-dir", "."], ["--config-dir", "nowhere"], ["--config-dir"], ["--experimental-rerun", "x"],
    ["--"], ["-"], ["--shell-completion", "install=bash"], ["--shell-completion"], ["-x"], ["--multi"], ["--cfg=job"],
]  # fmt: skip
CLASSES = [
    "torch.optim.NAdam", "torch.optim.Nadam", "torch.optim", "torch.load", "os.system", "torch.nn.Linear", "torch.",
    ".torch", "torch..optim", "builtins.eval", "torchvision.models.ResNet", "vgg_cifar.muon.Muon",
    "vgg_cifar.nothing.X", "timm.X", "é.é", "torch._C", "torch.optim.Optimizer",
    "torch.optim.lr_scheduler.LRScheduler", "torch.nn.Module", "torch.nn.Identity", "torch.optim.lr_scheduler.StepLR",
    "torch.nn.Flatten", "torch.optim.LBFGS", "torch.optim.SparseAdam", "torch.Tensor",
]  # fmt: skip
PATHS = [
    "nowhere", ".", "..", "/", "/dev/null", "/dev/null/x", "/proc/self", "/dev/zero", "~", "~nobody/x", "''", "auto",
    "a b", "pipe", "loop", "loop/x", "empty", "strange", "strange/config.yaml", "x" * 300, "é", "file:///etc",
    "http://host/x", "s3://b",
]  # fmt: skip
HYDRA = [
    "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.searchpath", "hydra.job.name", "hydra.job.num",
    "hydra.mode", "hydra", "hydra.", "hydra.output_subdir", "hydra.verbose", "hydra/launcher", "hydra/job_logging",
    "hydra.runtime.cwd", "hydra.callbacks.a._target_", "hydra.sweeper.params", "hydra.job.env_set.A", "hydra@x",
]  # fmt: skip

DEFAULTS = flat(compose_and_check([]).raw)
NAMES = sorted(
    {*keys(Config), *DEFAULTS, *groups(), "allow", "optimizer._target_", "model._target_", "schedule._target_"}
)


def value(random: Random) -> str:
    """Of any kind; now and then two kinds in one."""
    first = random.choice(random.choice(VALUES))
    return first + random.choice(random.choice(VALUES)) if random.random() < 0.1 else first


def misspelt(random: Random, name: str) -> str:
    place = random.randrange(len(name))
    put_in = random.choice(["", random.choice(string.printable), random.choice(UNICODE)])
    return name[:place] + put_in + name[place + random.randrange(2) :]


def shipped(random: Random) -> list[str]:
    """Something that is right, and may yet not go with its neighbours."""
    group = random.choice(groups())
    if random.random() < 0.5:
        return [f"{group}={random.choice(group_choices(group))}"]
    name = random.choice(sorted(DEFAULTS))
    return [f"{name}={spelled(DEFAULTS[name])}"]


def wrong_value(random: Random) -> list[str]:
    return [f"{random.choice(['', '', '', '+', '++', '~'])}{random.choice(NAMES)}={value(random)}"]


def wrong_name(random: Random) -> list[str]:
    name = misspelt(random, random.choice(NAMES))
    prefix, equals = random.choice(["", "+", "++", "~", "~~", "+++"]), random.choice(["=", "=", "", "==", ":="])
    return [f"{prefix}{name}{equals}{value(random)}"]


def wrong_choice(random: Random) -> list[str]:
    group, prefix = random.choice([*groups(), "nogroup", "a/b"]), random.choice(["", "", "+", "++", "~"])
    choice = random.choice(
        [misspelt(random, random.choice(group_choices("optimizer"))), "../train", "[sgd,adam]", value(random)]
    )
    return [f"{prefix}{group}={choice}"]


def package(random: Random) -> list[str]:
    group = random.choice(groups())
    where = random.choice(["foo", "_global_", "_here_", "_group_", ":", "a:b", "", "é", "hydra", "hydra.job", "seed"])
    return [f"{random.choice(['', '+', '++', '~'])}{group}@{where}={random.choice(group_choices(group))}"]


def custom(random: Random) -> list[str]:
    group = random.choice(["optimizer", "schedule", "model"])
    line = [f"{group}=custom", f"{group}._target_={random.choice(CLASSES)}"]
    if random.random() < 0.5:
        argument = random.choice(
            ["momentum_decay", "betas", "params", "step_size", "num_classes", "self", "_x", "lr", "block"]
        )
        line.append(f"+{group}.{argument}={value(random)}")
    if random.random() < 0.3:
        line.append(
            random.choice(["allow=[os]", "allow=[builtins]", "allow=torch", "allow=[a.b]", "allow=[é]", "allow={a: 1}"])
        )
    return [*line, *(["dropout=none"] if random.random() < 0.5 else [])]


def place(random: Random) -> list[str]:
    name = random.choice(["resume", "data.root", "model.weights", "hydra.run.dir", "hydra.searchpath", "name"])
    path = random.choice(PATHS)
    return [f"{name}={random.choice([path, repr(path), f'[{path}]'])}"]


def hydras_own(random: Random) -> list[str]:
    prefix, said = random.choice(["", "+", "++", "~"]), random.choice([value(random), random.choice(PATHS)])
    return [f"{prefix}{random.choice(HYDRA)}={said}"]


def flag(random: Random) -> list[str]:
    return random.choice(FLAGS)


def noise(random: Random) -> list[str]:
    letters = string.printable + "é\u202e\udcff"
    return ["".join(random.choices(letters, k=random.randrange(30)))]


PIECES = [shipped, wrong_value, wrong_name, wrong_choice, package, custom, place, hydras_own, flag, noise]
WEIGHTS = [6, 5, 3, 2, 2, 2, 3, 2, 2, 1]


def command_line(seed: int) -> list[str]:
    """What somebody might type after `python src/train.py`."""
    random = Random(seed)
    return [
        word for piece in random.choices(PIECES, WEIGHTS, k=random.choice([1, 1, 2, 2, 3, 5])) for word in piece(random)
    ]


def evaluation(seed: int, run: Path) -> list[str]:
    """What somebody might type after `python src/evaluate.py`."""
    random = Random(seed)
    named = [
        f"run={random.choice([str(run), *PATHS])}",
        f"checkpoint={random.choice(['best', 'last', 'null', value(random)])}",
    ]
    named += [f"data.root={random.choice(PATHS)}", f"allow={random.choice(['os,re', '[a]', value(random)])}"]
    named += [f"split={random.choice(['test', 'val', value(random)])}", f"tta={random.choice(['flip', value(random)])}"]
    named += [f"cost={random.choice(['false', value(random)])}"]
    line = random.sample(named, random.randrange(len(named) + 1))
    if random.random() < 0.2:
        line += random.choice([noise, wrong_name, flag])(random)
    return ["report=false", *([f"run={run}"] if random.random() < 0.3 else []), *line]


def exporting(seed: int, run: Path) -> list[str]:
    """What somebody might type after `python src/export.py`."""
    random = Random(seed)
    named = [
        f"checkpoint={random.choice(['best', 'last', *PATHS])}",
        f"images={random.choice(['10', '0', 'all', value(random)])}",
        f"data.root={random.choice(PATHS)}",
        f"int8={random.choice(['false', 'true', value(random)])}",
        f"allow={random.choice(['os,re', '[a]', value(random)])}",
    ]
    line = random.sample(named, random.randrange(len(named) + 1))
    if random.random() < 0.2:
        line += random.choice([noise, wrong_name, flag])(random)
    kind = random.choice(["safetensors", "safetensors", "safetensors", "[safetensors,]", value(random)])
    return [f"run={run}", f"format={kind}", "speed=false", *line]


@pytest.fixture
def place_of_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what `PATHS` names, in which the tests stand and runs would go."""
    here = tmp_path / "here"
    (here / "empty").mkdir(parents=True)
    (here / "strange").mkdir()
    (here / "strange" / "config.yaml").write_text("a: [1, {b: 2}]")
    (here / "loop").symlink_to("loop")
    os.mkfifo(here / "pipe")
    monkeypatch.chdir(here)
    monkeypatch.setattr(placement, "OUTPUTS", here / "outputs")
    return here


def faults(
    lines: Iterator[list[str]], command: Callable[[list[str]], Any], capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """The command lines that were not answered as they should be, each with what was said instead."""
    found = []
    for line in lines:
        try:
            guard(lambda line=line: command(line))  # type: ignore[misc]
        except SystemExit as ended:
            fault = _fault(ended.code, capsys.readouterr().err)
        except BaseException as error:
            fault = f"{type(error).__name__}: {error}"
        if fault:
            found.append(f"{shlex.join(line)!r:.500}: {fault:.300}")
    return found


def _fault(code: Any, said: str) -> str:
    """What is wrong with an answer; nothing if all is well."""
    if code not in (0, 2):
        return f"exit code {code}: {said}"
    one_line = said.startswith("error: ") and said.endswith("\n") and said[:-1].isprintable() and len(said) < 1100
    return f"no single line: {said}" if code == 2 and not one_line else ""


@pytest.mark.parametrize("count", [150, MANY])
def test_any_command_line_is_taken_or_answered_in_one_line(
    count: int, place_of_work: Path, capsys: pytest.CaptureFixture[str], figure: Callable[..., None]
) -> None:
    before, taken = sorted(place_of_work.rglob("*")), []

    def typed(line: list[str]) -> int:
        prepare(line)
        taken.append(line)
        return 0

    found = faults(map(command_line, range(count)), typed, capsys)
    assert not found, "\n".join(found)
    assert 0.05 * count < len(taken) < 0.5 * count  # lines of both kinds are made
    assert sorted(place_of_work.rglob("*")) == before
    figure("random command lines of train.py: composed, or answered in one line", count)


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_any_arguments_of_an_export_are_taken_or_answered_in_one_line(
    count: int, train: Callable[..., RunFolder], place_of_work: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], figure: Callable[..., None],
) -> None:  # fmt: skip
    folder, export = train("trainer.max_epochs=1"), script("export")
    before = sorted(place_of_work.rglob("*"))

    def typed(line: list[str]) -> Any:
        monkeypatch.setattr(sys, "argv", ["export.py", *line])
        return export.main()

    found = faults((exporting(seed, folder.path) for seed in range(count)), typed, capsys)
    assert not found, "\n".join(found)
    assert sorted(place_of_work.rglob("*")) == before
    assert (folder.export / "model.safetensors").is_file()
    figure("random command lines of export.py: done, or answered in one line", count)


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_any_arguments_of_an_evaluation_are_taken_or_answered_in_one_line(
    count: int, train: Callable[..., RunFolder], place_of_work: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], figure: Callable[..., None],
) -> None:  # fmt: skip
    folder, evaluate = train("trainer.max_epochs=1"), script("evaluate")
    before = sorted(place_of_work.rglob("*"))

    def typed(line: list[str]) -> Any:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *line])
        return evaluate.main()

    found = faults((evaluation(seed, folder.path) for seed in range(count)), typed, capsys)
    assert not found, "\n".join(found)
    assert sorted(place_of_work.rglob("*")) == before
    figure("random command lines of evaluate.py: done, or answered in one line", count)


@pytest.mark.soak
def test_any_truly_typed_command_line_is_taken_or_answered_in_one_line(
    place_of_work: Path, figure: Callable[..., None]
) -> None:
    found = []
    for seed in range(10_000, 10_040):
        line = [word for word in command_line(seed) if "shell" not in word]
        done = subprocess.run(
            [sys.executable, SOURCES / "train.py", *line, "--cfg", "job"],
            capture_output=True, text=True, errors="replace", timeout=300, check=False,
        )  # fmt: skip
        if fault := _fault(done.returncode, done.stderr):
            found.append(f"{shlex.join(line)!r:.500}: {fault:.2000}")
        figure("random command lines typed in a process of their own: composed, or answered in one line", 1)
    assert not found, "\n".join(found)
