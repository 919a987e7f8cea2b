"""What `--help` says: every group, every choice, every option with its meaning."""

import re
from pathlib import Path

import pytest
import yaml

from vgg_cifar.choices import CONF, group_choices, groups
from vgg_cifar.composition import HYDRA_GROUPS, compose_and_check
from vgg_cifar.errors import UserError
from vgg_cifar.options import flat, spelled
from vgg_cifar.usage import OF_HYDRA, WITHOUT_OPTIONS, help_text


def test_there_is_a_line_for_every_group_which_names_every_choice() -> None:
    shown = " ".join(help_text([]).split())
    for group in groups():
        assert f" {group} " in shown
        for choice in group_choices(group):
            assert choice in shown


@pytest.mark.parametrize("word", ["optimizer=adam", "optimizer.lr=0.3", "optimizer", "optimizer.lr"])
def test_a_word_shows_its_options_with_their_meanings_and_values(word: str) -> None:
    shown = help_text([word])
    assert shown.startswith("  optimizer.lr  ")
    assert "Peak learning rate" in shown
    assert ("optimizer.betas" in shown) == (word == "optimizer=adam")
    assert ("[0.3]" in shown) == (word == "optimizer.lr=0.3")


@pytest.mark.parametrize("group", WITHOUT_OPTIONS)
def test_a_set_of_choices_shows_what_it_sets(group: str) -> None:
    for choice in group_choices(group):
        shown = help_text([f"{group}={choice}"])
        assert shown.startswith(f"  {group}={choice}")
        typed = [word.strip() for word in shown.splitlines()[1:] if re.fullmatch(r"  \S+=\S+", word)]
        assert compose_and_check(typed).raw == compose_and_check([f"{group}={choice}"]).raw
    lines = help_text(["experiment=record"]).splitlines()
    assert "  optimizer=muon" in lines
    assert "  augmentation.cutout=16" in lines
    assert "  model.hidden=[]" in lines


def own(folder: Path, **files: str) -> str:
    """Write choices, named `group_choice`; what makes them known."""
    for name, text in files.items():
        file = folder / f"{name.replace('_', '/', 1)}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return f"hydra.searchpath=[file://{folder}]"


def test_choices_of_ones_own_are_listed_and_shown_like_the_shipped(tmp_path: Path) -> None:
    mine = "# @package _global_\n# My try.\ndefaults: [record, override /dropout: all, _self_]\noptimizer: {lr: 1e-3}"
    typed = own(tmp_path, experiment_mine=mine, optimizer_gentle="")
    assert {"mine,", "gentle,"} <= set(help_text([typed]).split())
    assert help_text([typed, "experiment=mine"]).splitlines() == [
        "  experiment=mine           My try.", "  experiment=record", "  dropout=all", "  optimizer.lr=0.001"
    ]  # fmt: skip
    assert "  mine                      My try.\n" in help_text([typed, "experiment"])


def test_a_file_that_would_set_nothing_is_refused(tmp_path: Path) -> None:
    typed = own(tmp_path, experiment_empty="", experiment_word="hello", experiment_below="seed: 3")
    no_package = "has to begin with the line '# @package _global_'"
    for name, said in (("empty", no_package), ("below", no_package), ("word", r"word\.yaml: should hold options")):
        with pytest.raises(UserError, match=said):
            help_text([typed, f"experiment={name}"])


def test_what_is_said_to_hydra_is_no_word_to_explain(tmp_path: Path) -> None:
    said = [f"hydra.run.dir={tmp_path}", f"hydra.searchpath=[file://{tmp_path}]"]
    assert help_text([*said, "optimizer"]) == help_text(["optimizer"])
    assert help_text(said) == help_text([])


def test_every_option_has_a_meaning() -> None:
    known = [key for key in flat(compose_and_check([]).raw) if not key.endswith(".name")]
    shown = [
        line.split()[0]
        for group in ("", *groups())
        for line in help_text([group] if group else []).splitlines()
        if line
    ]
    assert set(known) <= set(shown)


@pytest.mark.parametrize("group", WITHOUT_OPTIONS)
def test_the_choices_of_a_group_without_options_say_what_they_are(group: str) -> None:
    for choice in group_choices(group):
        assert f"  {choice} " in help_text([group])


@pytest.mark.parametrize("word", ["optimizer=custom", "logger=wandb"])
def test_help_does_not_need_what_a_run_would_need(word: str) -> None:
    assert help_text([word])


def test_a_word_that_names_nothing_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"--help: there is no optimizr; did you mean optimizer\?"):
        help_text(["optimizr"])


@pytest.mark.parametrize("word", OF_HYDRA)
def test_what_a_sweep_can_be_told_has_a_meaning(word: str) -> None:
    group, _, choice = word.partition("=")
    content = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text())
    assert content.keys() - {"_target_"} == OF_HYDRA[word].model_fields.keys()
    shown = " ".join(help_text([word]).split())
    for option, default in content.items():
        if option != "_target_":
            assert re.search(rf"{group.replace('/', '.')}\.{option} [^\[]+.*\[{re.escape(spelled(default))}\]", shown)


def test_every_choice_of_hydras_is_told_of() -> None:
    shipped = {f"hydra/{group}={choice}" for group in HYDRA_GROUPS for choice in group_choices(f"hydra/{group}")}
    assert OF_HYDRA.keys() == shipped
    assert all(word.partition("=")[0] in help_text([]) for word in OF_HYDRA)
