"""Composition: every shipped choice composes, a mistake from any source is one line, and files get no rights."""

import os
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from own_choices import GLOBAL, write_choice

from vgg_cifar import limits
from vgg_cifar.choices import group_choices, groups
from vgg_cifar.command_line import prepare
from vgg_cifar.composition import compose_and_check, differences_from_defaults
from vgg_cifar.config import Config
from vgg_cifar.errors import UserError
from vgg_cifar.options import flat, keys

OWN_CLASS = {
    "optimizer": ["optimizer._target_=torch.optim.NAdam"],
    "schedule": ["schedule._target_=torch.optim.lr_scheduler.StepLR", "+schedule.step_size=3"],
    "model": ["model._target_=torchvision.models.MobileNetV2", "dropout=none"],
}
GROUPS = [group for group in groups() if group not in ("experiment", "debug")]
CHOICES = [(group, choice) for group in GROUPS for choice in group_choices(group)]
TO_BE_GIVEN = {"soft_targets": ["distillation.teachers=[outputs/train/run]"]}
NOT_INSTALLED = ("wandb", "mlflow")


@pytest.mark.parametrize(("group", "choice"), [each for each in CHOICES if each[1] not in NOT_INSTALLED])
def test_every_shipped_choice_composes(group: str, choice: str) -> None:
    own = OWN_CLASS[group] if choice == "custom" else TO_BE_GIVEN.get(choice, [])
    config = compose_and_check([f"{group}={choice}", *own]).config
    options = getattr(config, group)
    if group != "trainer":
        assert options.name == choice


@pytest.mark.parametrize("experiment", group_choices("experiment"))
def test_every_experiment_composes_under_its_own_name(experiment: str) -> None:
    assert compose_and_check([f"experiment={experiment}"]).config.name == experiment


@pytest.mark.parametrize("experiment", group_choices("experiment"))
@pytest.mark.parametrize("debug", group_choices("debug"))
def test_every_experiment_can_be_debugged(experiment: str, debug: str) -> None:
    config = compose_and_check([f"experiment={experiment}", f"debug={debug}"]).config
    assert (config.name, config.tags) == ("debug", [debug])


def test_the_defaults_are_those_that_the_documentation_promises() -> None:
    config = compose_and_check([]).config
    expected = {
        "augmentation": "standard",
        "averaging": "none",
        "data": "cifar100",
        "distillation": "none",
        "dropout": "head",
        "model": "vgg16_bn",
        "optimizer": "sgd",
        "schedule": "cosine",
        "sharpness": "none",
        "weight_decay": "standard",
    }
    assert {group: getattr(config, group).name for group in expected} == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("trainer: {max_epoch: 3}", "trainer.max_epoch: there is no such option; did you mean trainer.max_epochs?"),
        ("optimizer: {lr: fast}", "optimizer.lr: should be a valid number or 'auto', is 'fast'"),
        ("allow: [os]", "allow: ['os'] stands in a file; only the command line may allow packages: allow=[...]"),
        (
            "optimizer: {_target_: torch.optim.NAdam}",
            "optimizer._target_: optimizer=sgd has no such option, only custom",
        ),
    ],
)
def test_a_mistake_or_a_right_taken_in_a_file_is_refused(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare(write_choice(tmp_path, "experiment", "mine", GLOBAL + text))
    assert str(caught.value).removeprefix(f"{tmp_path}/experiment/mine.yaml: ") == line


@pytest.mark.parametrize(
    "text", ["seed: 3", "", "defaults: [override /optimizer: adam]", f"# A comment before it.\n{GLOBAL}seed: 3"]
)
def test_an_experiment_that_forgets_its_package_is_told_the_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare(write_choice(tmp_path, "experiment", "mine", text))
    assert str(caught.value) == f"{tmp_path}/experiment/mine.yaml: has to begin with the line '# @package _global_'"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{callbacks: {mine: {_target_: os.system}}}", "callbacks.mine._target_"),
        ("{job_logging: {handlers: {file: {'()': os.system}}}}", "job_logging.handlers.file.()"),
        ("{hydra_logging: {handlers: {console: {'()': os.system}}}}", "hydra_logging.handlers.console.()"),
        ("{launcher: {_target_: os.system}}", "launcher._target_"),
        ("{sweeper: {params: {seed: '1,2'}}}", "sweeper.params.seed"),
        ("{job: {env_set: {LD_PRELOAD: evil.so}}}", "job.env_set.LD_PRELOAD"),
        ("{mode: MULTIRUN}", "mode"),
        ("{run: {dir: /elsewhere}}", "run.dir"),
        ("{output_subdir: ../elsewhere}", "output_subdir"),
        (
            "{callbacks: '${oc.decode:${oc.select:hydra.help.header}}', help: {header: '{x: {_target_: os.system}}'}}",
            "callbacks",
        ),
    ],
)
def test_hydras_own_settings_cannot_be_changed_in_a_file(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare(write_choice(tmp_path, "experiment", "mine", f"{GLOBAL}hydra: {text}"))
    assert str(caught.value) == f"hydra.{key}: is changed in a file; Hydra's own settings stay as they are shipped"


@pytest.mark.parametrize(
    "text",
    [
        "trainer: {max_epochs: 3",
        "trainer:\n\tmax_epochs: 3",
        "- a\n- b",
        "a: b: c",
        "trainer: 3",
        "seed: !!python/name:os.system",
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare(write_choice(tmp_path, "experiment", "mine", GLOBAL + text))
    assert "\n" not in str(caught.value)


def multiplying(first: str, line: str, one: str, between: str = ", ") -> str:
    """Twelve options, x0, x1, ..., each of which stands for ten times the one before it."""
    lines = [f"x0: {first}"]
    for number in range(1, 12):
        ten = between.join([one.replace("LAST", f"x{number - 1}")] * 10)
        lines.append(f"x{number}: {line.replace('THIS', f'x{number}').replace('TEN', ten)}")
    return "\n".join(lines)


BOMBS = {
    "aliases": multiplying("&x0 [a]", "&THIS [TEN]", "*LAST"),
    "merges": multiplying("&x0 {a: 1}", "&THIS {<<: [TEN]}", "*LAST"),
    "texts": multiplying("a" * 1000, "TEN", "${LAST}", between=""),
    "trees": multiplying("{a: 1}", "[TEN]", "'${LAST}'"),
    "folder": multiplying("a" * 1000, "TEN", "${LAST}", between="") + "\nhydra: {run: {dir: '${x11}'}}",
    "size": f"tags: [{'a, ' * 1_000_000}]",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_file_that_stands_for_more_than_a_machine_holds_is_one_line(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    with pytest.raises(UserError, match=r"^the configuration: takes more than 0.5 s or 1024 MB to read") as caught:
        prepare(write_choice(tmp_path, "experiment", "mine", GLOBAL + text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", [f"tags=[{'a,' * 30_000}a]", f"tags={'[' * 60_000}"], ids=["long", "deep"])
def test_an_override_that_would_take_minutes_to_read_is_one_line(
    override: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    with pytest.raises(UserError, match=r"^tags: takes more than 0.5 s"):
        prepare([override])


@pytest.mark.parametrize(
    "text", ["tags: &a [*a]", "tags: &a {b: *a}", f"tags: {'[' * 500}{']' * 500}", "seed: ${seed}"]
)
def test_a_file_that_holds_itself_or_is_nested_too_deeply_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"nested too deeply, or refers to itself|Recursive interpolation"):
        prepare(write_choice(tmp_path, "experiment", "mine", GLOBAL + text))


@pytest.mark.parametrize(
    "text", [r"tags: [a, {b: '\ud800'}]", r"data: {root: '/a\0b'}", r"resume: 'a\0'", r"'\udfff': 1"]
)
def test_a_character_that_no_file_can_hold_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="holds a character that no file can hold"):
        prepare(write_choice(tmp_path, "experiment", "mine", GLOBAL + text.replace("'", '"')))


@pytest.mark.parametrize(
    "content", [b"name: \xff", b"name: a\0b", "name: a\u202eb".encode(), b"\xff\xfe", b"\0" * 1000]
)
def test_a_file_that_is_no_text_is_one_line(tmp_path: Path, content: bytes) -> None:
    typed = write_choice(tmp_path, "experiment", "mine", "")
    (tmp_path / "experiment" / "mine.yaml").write_bytes(GLOBAL.encode() + content)
    with pytest.raises(UserError) as caught:
        prepare(typed)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["pipe", "link to itself", "folder"])
def test_a_choice_that_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    typed = write_choice(tmp_path, "experiment", "mine", "")
    path = tmp_path / "experiment" / "mine.yaml"
    path.unlink()
    {"pipe": os.mkfifo, "folder": Path.mkdir, "link to itself": lambda path: path.symlink_to(path)}[kind](path)
    with pytest.raises(UserError, match="there is no choice mine, only baseline, original"):
        prepare(typed)


def test_a_choice_of_the_users_own_is_composed_like_a_shipped_one(tmp_path: Path) -> None:
    typed = write_choice(
        tmp_path, "optimizer", "mine", "name: sgd\nlr: 0.3\nmomentum: 0.5\nnesterov: false\nbias_scale: 1.0\n"
    )
    overrides = prepare([*typed, f"hydra.run.dir={tmp_path}/run"])
    assert overrides is not None
    assert compose_and_check(overrides).config.optimizer.lr == 0.3


def test_a_launcher_of_the_users_own_is_neither_taken_nor_suggested(tmp_path: Path) -> None:
    typed = write_choice(tmp_path, "hydra/launcher", "mine", "_target_: os.system")
    with pytest.raises(UserError, match=r"^hydra/launcher: there is no choice mine, only isolated, slurm$"):
        prepare(typed)


def test_a_choice_of_the_users_own_is_suggested_for_a_misspelt_one(tmp_path: Path) -> None:
    typed = write_choice(tmp_path, "experiment", "mine", GLOBAL)
    with pytest.raises(UserError, match=r"no choice mien, only baseline, mine, .*; did you mean mine\?$"):
        prepare([*typed[:-1], "experiment=mien"])


def test_what_differs_from_the_defaults_is_named_with_the_default() -> None:
    raw = compose_and_check(["optimizer=adam", "seed=3"]).raw
    assert differences_from_defaults(raw) == {
        "optimizer.name": "sgd",
        "optimizer.lr": 0.1,
        "optimizer.betas": None,
        "optimizer.eps": None,
        "seed": 0,
    }


# Misspelt options made at random; all else that may be typed is in test_command_lines.py.

NAMES = sorted(flat(compose_and_check([]).raw))
PREFIXES = st.sampled_from(["", "+", "++"])


@st.composite
def misspelt(draw: st.DrawFn) -> str:
    """A known option with a letter dropped, put in or changed."""
    name = draw(st.sampled_from(NAMES))
    place = draw(st.integers(0, len(name) - 1))
    letter = draw(st.sampled_from(string.ascii_lowercase))
    before, after = name[:place], name[place + 1 :]
    wrong = draw(st.sampled_from([before + after, before + letter + name[place] + after, before + letter + after]))
    assume(wrong not in keys(Config))
    return f"{draw(PREFIXES)}{wrong}={draw(st.sampled_from(['1', '0.1', 'true', 'sgd']))}"


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(misspelt())
def test_a_misspelt_option_is_refused_in_one_line(override: str) -> None:
    with pytest.raises(UserError) as caught:
        compose_and_check([override])
    assert "\n" not in str(caught.value)
