"""The choices of every group, shipped and of a user's own: mistakes in one's own files are told with their names."""

from collections.abc import Callable
from pathlib import Path

import pytest
from own_choices import GLOBAL, write_choice

from vgg_cifar.choices import CONF, NO_OPTIONS, ONE_CHOICE, group_choices
from vgg_cifar.command_line import prepare
from vgg_cifar.composition import compose_and_check
from vgg_cifar.errors import UserError
from vgg_cifar.reproduction import reproduce
from vgg_cifar.runs.folder import RunFolder


def composed(typed: list[str]) -> list[str]:
    """What `prepare` makes of it, without the flag of Hydra's that it replaces."""
    prepared = prepare([*typed, "data=synthetic"])
    assert prepared is not None
    return prepared


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("optimizer.lr: 0.05", "optimizer.lr: has to be nested, as in 'optimizer: {lr: ...}'"),
        ("data.a.b: 1", "data.a.b: has to be nested, as in 'data: {a: {b: ...}}'"),
        (
            "defaults: [override /debug: fast]",
            "defaults: override /debug: is not taken by another choice; type debug=fast",
        ),
        ("debug: fast", "debug: is not taken by another choice; type debug=fast"),
        ("optimizer: adam", "optimizer: write '- override /optimizer: adam' below defaults"),
        ("experiment: baseline", "experiment: write '- baseline' below defaults"),
        ("defaults: {override /optimizer: adam}", "defaults: should be a list; begin each line below it with '- '"),
        ("defaults: baseline", "defaults: should be a list; begin each line below it with '- '"),
        ("defaults: [override /optimizer:adam]", "defaults: override /optimizer:adam: put a space behind the colon"),
        ("defaults: [optimizer: adam]", "defaults: optimizer: write '- override /optimizer: adam' below defaults"),
        ("defaults: [/optimizer: adam]", "defaults: /optimizer: write '- override /optimizer: adam' below defaults"),
        (
            "defaults: [override optimizer: adam]",
            "defaults: override optimizer: write '- override /optimizer: adam' below defaults",
        ),
        ("defaults: [/experiment: baseline]", "defaults: /experiment: write '- baseline' below defaults"),
        (
            "defaults: [override /optimiser: adam]",
            "defaults: optimiser: there is no such group; did you mean optimizer?",
        ),
        (
            "defaults: [override /schedule: cosin]",
            f"defaults: schedule: there is no choice cosin, only {', '.join(group_choices('schedule'))}; "
            "did you mean cosine?",
        ),
        (
            "defaults: [baselin]",
            f"defaults: experiment: there is no choice baselin, only "
            f"{', '.join(sorted([*group_choices('experiment'), 'mine']))}; did you mean baseline?",
        ),
        (
            "defaults: [override /optimizer: adam, baseline]",
            "defaults: write the lines with override behind the others",
        ),
        ("defaults: [override /optimizer: [sgd, adam]]", f"defaults: optimizer: {ONE_CHOICE}"),
        ("defaults: [3]", "defaults: 3: is no line of 'choice' or 'override /group: choice'"),
        ("defaults: null", "defaults: should be a list; begin each line below it with '- '"),
        ("- seed\n- 3", NO_OPTIONS),
        ("optimizer:\n- lr: 0.1", f"optimizer: {NO_OPTIONS}"),
        ("optimizer: lr:0.1", f"optimizer: {NO_OPTIONS}"),
        ("optimiser: {lr: 0.1}", "optimiser: there is no such option; did you mean optimizer?"),
    ],
)
def test_a_mistake_in_an_experiment_of_ones_own_is_told_with_the_file(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare(write_choice(tmp_path, "experiment", "mine", GLOBAL + text))
    assert str(caught.value) == f"{tmp_path}/experiment/mine.yaml: {fault}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"{GLOBAL}lr: 0.1", "leave out '# @package _global_', the first line of experiments alone"),
        ("lr: 0.1", "optimizer: its name is missing, which says which choice it is"),
        ("name: adamw\nlr: 0.1", "optimizer.betas: this option is missing, and so is optimizer.eps"),
        (
            "defaults: [sgd, schedule: cosine]",
            "defaults: schedule: a choice of optimizer takes no schedule; let an experiment take both",
        ),
        ("optimizer: {lr: 0.1}", "optimizer: its name is missing, which says which choice it is"),
        ("defaults: [sgd]\nlr: fast", "optimizer.lr: should be a valid number or 'auto', is 'fast'"),
    ],
)
def test_a_mistake_in_another_choice_of_ones_own_is_told_with_the_file(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare(write_choice(tmp_path, "optimizer", "mine", text))
    assert str(caught.value) == f"{tmp_path}/optimizer/mine.yaml: {fault}"


@pytest.mark.parametrize("place", ["experiment/ours.yml", "experiments/ours.yaml", "ours.yaml"])
def test_a_file_in_another_place_than_hydra_looks_is_found(tmp_path: Path, place: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text(GLOBAL)
    with pytest.raises(UserError) as caught:
        prepare(["--config-dir", str(tmp_path), "experiment=ours"])
    assert str(caught.value).endswith(f"; {file} would be it as {tmp_path}/experiment/ours.yaml")


def test_a_choice_is_typed_without_its_ending(tmp_path: Path) -> None:
    typed = write_choice(tmp_path, "experiment", "ours", GLOBAL)
    with pytest.raises(UserError, match=r"there is no choice ours\.yaml, only .*; did you mean ours\?$"):
        prepare([*typed[:2], "experiment=ours.yaml"])


def test_what_an_own_choice_takes_is_looked_at_too(tmp_path: Path) -> None:
    write_choice(tmp_path, "optimizer", "inner", "defaults: [optimizer: sgd]")
    write_choice(tmp_path, "experiment", "between", f"{GLOBAL}defaults: [override /optimizer: inner]")
    with pytest.raises(UserError) as caught:
        prepare(write_choice(tmp_path, "experiment", "outer", f"{GLOBAL}defaults: [between]"))
    assert str(caught.value) == f"{tmp_path}/optimizer/inner.yaml: defaults: optimizer: write '- sgd' below defaults"


def test_a_file_that_was_not_chosen_keeps_nobody_from_another(tmp_path: Path) -> None:
    write_choice(tmp_path, "experiment", "unfinished", f"{GLOBAL}optimizer: adam")
    typed = write_choice(tmp_path, "experiment", "done", f"{GLOBAL}defaults: [override /optimizer: adam]\nseed: 3")
    config = compose_and_check(composed(typed)).config
    assert (config.optimizer.name, config.seed) == ("adam", 3)


def test_a_choice_that_was_typed_replaces_one_of_ones_own_unread(tmp_path: Path) -> None:
    write_choice(tmp_path, "optimizer", "unfinished", "optimizer.lr: 3")
    typed = write_choice(tmp_path, "experiment", "mine", f"{GLOBAL}defaults: [override /optimizer: unfinished]")
    with pytest.raises(UserError, match=r"unfinished.yaml: optimizer\.lr: has to be nested"):
        prepare(typed)
    assert compose_and_check(composed([*typed, "optimizer=adam"])).config.optimizer.name == "adam"
    assert compose_and_check(composed([*typed, "experiment=baseline"])).config.name == "baseline"
    assert compose_and_check(composed([*typed, "~experiment=mine"])).config.optimizer.name == "sgd"


@pytest.mark.parametrize(
    "line",
    [
        "baseline@_here_", "./baseline", "sub/inner", "baseline.yaml", "optional baseline: null",
        "override  /optimizer: adam", "override optional /optimizer: adam", "override /optimizer: adam.yaml",
        "override /optimizer: '${oc.env:CHOSEN,adam}'", "override /hydra/launcher: isolated",
    ],
)  # fmt: skip
def test_whatever_else_hydra_takes_in_a_defaults_list_composes(tmp_path: Path, line: str) -> None:
    write_choice(tmp_path, "experiment/sub", "inner", GLOBAL)
    composed(write_choice(tmp_path, "experiment", "mine", f"{GLOBAL}defaults:\n- _self_\n- {line}"))


@pytest.mark.parametrize("group", ["experiment", "debug", "optimizer", "schedule", "augmentation"])
def test_every_shipped_choice_is_taken_as_one_of_ones_own(tmp_path: Path, group: str) -> None:
    for choice in set(group_choices(group)) - {"custom"}:  # which needs a class
        text = (CONF / group / f"{choice}.yaml").read_text()
        config = compose_and_check(composed(write_choice(tmp_path, group, f"own_{choice}", text))).config
        shipped = compose_and_check([f"{group}={choice}", "data=synthetic"]).config
        assert config == shipped


def test_a_choice_may_lie_in_a_folder_of_its_groups(tmp_path: Path) -> None:
    write_choice(tmp_path, "experiment/sub", "inner", f"{GLOBAL}seed: 3")
    typed = ["--config-dir", str(tmp_path), "experiment=sub/inner"]
    assert compose_and_check(composed(typed)).config.seed == 3
    write_choice(tmp_path, "experiment/sub", "between", f"{GLOBAL}defaults: [inner]")
    for line in ("sub/between", "sub: between"):
        typed = write_choice(tmp_path, "experiment", "outer", f" {GLOBAL}defaults: [{line}]")
        assert compose_and_check(composed(typed)).config.seed == 3
    for outside in ("../optimizer/adam", f"/{tmp_path}/experiment/sub/inner"):
        with pytest.raises(UserError, match=r"^experiment: there is no choice "):
            prepare([*typed[:2], f"experiment={outside}"])


def test_files_that_take_each_other_are_one_line(tmp_path: Path) -> None:
    write_choice(tmp_path, "experiment", "one", f"{GLOBAL}defaults: [two]")
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        prepare(write_choice(tmp_path, "experiment", "two", f"{GLOBAL}defaults: [one]"))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    typed = write_choice(tmp_path, "experiment", "mine", "")
    (tmp_path / "experiment" / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=f"^{tmp_path}/experiment/mine.yaml: cannot be read: "):
        prepare(typed)


def test_the_shipped_folder_may_be_named_as_ones_own() -> None:
    assert composed(["--config-dir", str(CONF), "optimizer=adam"])


def test_a_file_that_multiplies_and_is_not_taken_costs_nothing(tmp_path: Path) -> None:
    nine = [", ".join(f"k{each}: *a{n}" for each in range(9)) for n in range(30)]
    bomb = "a0: &a0 {x: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{{nine[n]}}}\n" for n in range(30))
    write_choice(tmp_path, "optimizer", "bomb", bomb)
    text = f"{GLOBAL}defaults: [override /optimizer: bomb]\nschedule: {{foo: 1}}"
    typed = write_choice(tmp_path, "experiment", "mine", text)
    with pytest.raises(UserError, match=f"^{tmp_path}/experiment/mine.yaml: schedule.foo: there is no such option"):
        prepare([*typed, "optimizer=adam"])


def test_the_file_is_named_whose_value_it_is(tmp_path: Path) -> None:
    own = write_choice(tmp_path, "optimizer", "mine", "defaults: [sgd]\nlr: 0.05")
    ours = write_choice(tmp_path, "experiment", "ours", f"{GLOBAL}optimizer: {{lr: fast}}")
    for typed in ([*own, ours[2]], [*own[:2], ours[2], own[2]]):
        with pytest.raises(UserError, match=f"^{tmp_path}/experiment/ours.yaml: optimizer.lr: should be"):
            prepare(typed)
    with pytest.raises(UserError, match=r"^optimizer\.lr: should be"):
        prepare([*own, "+optimizer={lr: fast}"])


def test_an_experiment_of_ones_own_may_build_on_another(tmp_path: Path) -> None:
    shipped = compose_and_check(["experiment=baseline"]).config
    text = f"{GLOBAL}defaults: [baseline, override /schedule: cosine]\nname: mine\noptimizer: {{lr: 0.05}}"
    config = compose_and_check(composed(write_choice(tmp_path, "experiment", "mine", text))).config
    assert (config.name, config.schedule.name, config.optimizer.lr) == ("mine", "cosine", 0.05)
    assert (config.model, config.augmentation) == (shipped.model, shipped.augmentation)


def test_what_a_shipped_experiment_sets_for_another_choice_than_ones_own_takes_is_told(tmp_path: Path) -> None:
    text = f"{GLOBAL}defaults: [baseline, override /optimizer: adam]"
    typed = write_choice(tmp_path, "experiment", "mine", text)
    way_out = r"experiment=baseline sets it: with optimizer=adam add '~optimizer.nesterov'"
    with pytest.raises(UserError, match=f"{way_out}; that leaves optimizer.lr=0.1, set for another choice$"):
        prepare(typed)
    write_choice(tmp_path, "experiment", "mine", f"{text}\noptimizer: {{lr: 0.001}}")
    with pytest.raises(UserError, match=f"{way_out}$"):
        prepare(typed)
    assert compose_and_check(composed([*typed, "~optimizer.nesterov"])).config.optimizer.name == "adam"


@pytest.mark.parametrize(
    ("group", "text"),
    [("experiment", f"{GLOBAL}optimizer: {{lrr: 1}}"), ("optimizer", "defaults: [sgd]\nlrr: 1")],
)
def test_an_option_that_is_wrong_is_told_with_the_file_that_sets_it(tmp_path: Path, group: str, text: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare(write_choice(tmp_path, group, "mine", text))
    said = "optimizer.lrr: there is no such option; did you mean optimizer.lr?"
    assert str(caught.value) == f"{tmp_path}/{group}/mine.yaml: {said}"


def test_an_option_that_was_typed_stands_in_no_file(tmp_path: Path) -> None:
    typed = write_choice(tmp_path, "experiment", "mine", f"{GLOBAL}optimizer: {{lr: 0.1}}")
    with pytest.raises(UserError, match=r"^optimizer\.lr: should be .*, is 'fast'$"):
        prepare([*typed, "optimizer.lr=fast"])


def test_a_run_that_chose_from_a_folder_of_ones_own_asks_for_it_again(
    train: Callable[..., RunFolder], tmp_path: Path
) -> None:
    write_choice(tmp_path / "own", "optimizer", "mine", "defaults: [sgd]\nlr: 0.05")
    folder = train("trainer.max_epochs=1")
    folder.write_manifest(folder.read_manifest() | {"overrides": ["data=synthetic", "optimizer=mine"]})
    said = f"optimizer: {folder.path} has a choice of a user's own, mine"
    which = "name the folder that holds optimizer/mine.yaml"
    with pytest.raises(UserError, match=f"^{said}; {which}: --config-dir FOLDER$"):
        prepare([f"resume={folder.path}"])
    with pytest.raises(UserError, match=f"^{said}, and it is not in {tmp_path}; {which}: --config-dir FOLDER$"):
        prepare([f"resume={folder.path}", "--config-dir", str(tmp_path)])
    with pytest.raises(UserError, match=rf"^{said}; {which}: 'hydra\.searchpath=\[FOLDER\]'$"):
        reproduce(folder, str(tmp_path / "again"), [])
    with pytest.raises(UserError, match="trained with other options"):  # it is found, and another than it was
        prepare([f"resume={folder.path}", "--config-dir", str(tmp_path / "own")])
    with pytest.raises(UserError, match="there is no choice sdg, only"):
        prepare([f"resume={folder.path}", "optimizer=sdg"])
