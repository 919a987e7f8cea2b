"""A job is known by what it computes, not by where it lies or how it is shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vgg_cifar.command_line import prepare
from vgg_cifar.config import BESIDE_THE_POINT, Config, is_beside_the_point
from vgg_cifar.errors import UserError
from vgg_cifar.options import keys
from vgg_cifar.sweeps.job import Job, key, labels, options_of

SAME = [
    ("name=other",), ("tags=[a,b]",), ("sweep=mine",), ("logger=tensorboard",), ("profile=3",), ("data.memory=host",),
    ("checkpoint.every_steps=3", "checkpoint.every_epochs=null"), ("trainer.log_every_n_steps=7",),
    ("trainer.enable_progress_bar=false",),
]  # fmt: skip
OTHER = [
    ("seed=1",), ("optimizer=adam",), ("optimizer.lr=0.2",), ("data.batch_size=32",), ("data.val_fraction=0.2",),
    ("model.width=0.25",), ("trainer.max_epochs=3",), ("trainer.precision=64-true",), ("trainer.devices=2",),
    ("weight_decay=none",), ("label_smoothing=0.1",), ("monitor_test=true",), ("divergence.retries=1",),
    ("early_stopping.patience=3",), ("compile=true",), ("optimizer.lr=auto",), ("augmentation.mix=cutmix",),
]  # fmt: skip


@pytest.fixture
def make(configure: Callable[..., Config], tmp_path: Path) -> Callable[..., Job]:
    def build(*overrides: str, number: int = 0) -> Job:
        config = configure(*overrides)
        return Job(number, key(config.model_dump()), tmp_path / str(number), list(overrides), config)

    return build


def begin(job: Job, **changes: Any) -> None:
    """What a run leaves in the job's folder."""
    job.path.mkdir(exist_ok=True)
    job.folder.write_config(job.config.model_dump() | changes)


def test_every_option_that_is_beside_the_point_exists() -> None:
    assert set(BESIDE_THE_POINT) <= {*keys(Config)}


@pytest.mark.parametrize("overrides", SAME, ids=" ".join)
def test_where_a_run_lies_and_how_it_is_shown_makes_no_other_job(
    make: Callable[..., Job], overrides: tuple[str, ...]
) -> None:
    assert make(*overrides).key == make().key


@pytest.mark.parametrize("overrides", OTHER, ids=" ".join)
def test_whatever_changes_what_is_computed_makes_another_job(
    make: Callable[..., Job], overrides: tuple[str, ...]
) -> None:
    assert make(*overrides).key != make().key


def test_a_key_is_the_same_however_the_options_are_nested_or_ordered(make: Callable[..., Job]) -> None:
    raw = make().config.model_dump()
    backwards = {name: raw[name] for name in reversed(raw)}
    assert key(backwards) == key(raw) == make().key
    flat = {"optimizer.lr": 0.1, "seed": 0}
    assert key(flat) == key({"seed": 0, "optimizer": {"lr": 0.1}})


def test_a_name_that_only_begins_like_one_beside_the_point_is_not() -> None:
    assert is_beside_the_point("logger.images")
    assert not is_beside_the_point("loggers")
    assert not is_beside_the_point("data.root_of_all")


def test_the_key_of_a_run_that_has_begun_is_that_of_its_job(make: Callable[..., Job]) -> None:
    job = make("optimizer=adam", "weight_decay=none")
    begin(job)
    assert key(options_of(job.folder)) == job.key
    job.refuse_another_run()


def test_options_that_came_after_a_run_do_not_make_it_another(make: Callable[..., Job]) -> None:
    job = make("optimizer=adam")
    raw = job.config.model_dump()
    del raw["divergence"], raw["trainer"]["gradient_clip_val"], raw["optimizer"]["betas"]
    job.path.mkdir()
    job.folder.write_config(raw)
    job.refuse_another_run()
    assert key(options_of(job.folder)) == job.key


def test_numbers_that_a_run_found_itself_do_not_make_it_another(make: Callable[..., Job]) -> None:
    job = make("optimizer.lr=auto", "data.batch_size=auto")
    found = make("optimizer.lr=0.05", "data.batch_size=64").config.model_dump()
    begin(job, **found)
    with pytest.raises(UserError, match=r"data\.batch_size: 64 -> auto; optimizer\.lr: 0\.05 -> auto"):
        job.refuse_another_run()
    job.folder.write_manifest({"tuned": {"optimizer.lr": 0.05, "data.batch_size": 64}})
    job.refuse_another_run()


def test_a_folder_that_was_changed_by_hand_is_refused(make: Callable[..., Job]) -> None:
    job = make("optimizer.lr=0.1")
    job.refuse_another_run()  # nothing is there yet
    begin(job, seed=3, label_smoothing=0.2, compile=True, monitor_test=True)
    with pytest.raises(UserError) as error:
        job.refuse_another_run()
    assert str(error.value) == (
        f"sweep: {job.path} holds another run than job 0 (compile: true -> false; label_smoothing: 0.2 -> 0.0; "
        "monitor_test: true -> false); move it away, or name another sweep=..."
    )


@pytest.mark.parametrize(
    "text", ["seed: 2020-01-01", "seed: !!set {a, b}", "seed: [", "1: {2: 3}", "- a", "seed: .nan"]
)
def test_whatever_a_configuration_holds_it_is_refused_in_a_line(make: Callable[..., Job], text: str) -> None:
    job = make()
    job.path.mkdir()
    job.folder.config.write_text(text)
    with pytest.raises(UserError, match=str(job.path)):
        job.refuse_another_run()


@pytest.mark.parametrize("tuned", ["5", '"data.batch_size"', "[1]", "null"])
def test_whatever_a_manifest_says_was_tuned(make: Callable[..., Job], tuned: str) -> None:
    job = make()
    begin(job)
    job.folder.manifest.write_text(f'{{"tuned": {tuned}}}')
    job.refuse_another_run()


def test_a_job_begins_in_its_folder_or_goes_on_there(make: Callable[..., Job], tiny: list[str], tmp_path: Path) -> None:
    job = make("seed=3")
    odd = Job(0, job.key, tmp_path / "it's, {odd}=", [*tiny, "seed=3"], job.config)
    assert prepare(odd.words()) is not None
    assert odd.words()[:-1] == odd.overrides
    assert odd.words()[-1].startswith("hydra.run.dir=")
    begin(odd)
    odd.folder.write_manifest({"overrides": [*tiny, "seed=3"]})
    assert odd.words()[-1].startswith("resume=")
    typed = prepare(odd.words())
    assert typed is not None
    assert any(each.startswith("hydra.run.dir=") and "odd" in each for each in typed)


def test_a_label_says_what_the_others_are_not(make: Callable[..., Job]) -> None:
    jobs = [make("optimizer=adam", f"seed={seed}", "logger=csv", number=seed) for seed in range(2)]
    assert list(labels(jobs)) == ["seed=0", "seed=1"]
    assert list(labels(jobs[:1])) == ["optimizer=adam seed=0 logger=csv"]
    assert list(labels([make()])) == ["as it is by default"]
    assert list(labels([make(), make("seed=1")])) == ["as it is by default", "seed=1"]
