"""The `resizing` group: the side of training images as a pure function of how far the run has come."""

from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Callback

from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import Config
from vgg_cifar.errors import UserError
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer


class Sides(Callback):
    """Keeps the side of the images of every training and evaluation batch."""

    def __init__(self) -> None:
        self.trained: list[int] = []
        self.evaluated: set[int] = set()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        assert batch.images.shape[-2] == batch.images.shape[-1]
        self.trained.append(batch.images.shape[-1])

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.evaluated.add(batch.images.shape[-1])


def test_training_images_grow_between_epochs_and_evaluation_sees_them_whole(configure: Callable[..., Config]) -> None:
    config = configure(
        "resizing=progressive", "resizing.sides=[20,24,32]", "resizing.milestones=[0.25,0.5]", "trainer.max_epochs=4"
    )
    sides = Sides()
    datamodule = make_datamodule(config)
    trainer, _ = make_trainer(config, [sides], [])
    trainer.fit(make_classifier(config, datamodule), datamodule)
    steps = len(sides.trained) // 4
    assert sides.trained == [20] * steps + [24] * steps + [32] * 2 * steps
    assert sides.evaluated == {32}


def test_a_stage_begins_at_its_milestone() -> None:
    resizing = compose_and_check(["resizing=progressive"])[1].resizing
    by_hundredths = [resizing.side(run / 100) for run in range(100)]
    assert by_hundredths == [20] * 30 + [24] * 30 + [32] * 40


def test_a_run_that_ends_by_its_steps_goes_through_all_stages(configure: Callable[..., Config]) -> None:
    config = configure(
        "resizing=progressive", "resizing.sides=[20,32]", "resizing.milestones=[0.5]", "trainer.max_epochs=100",
        "trainer.max_steps=20",
    )  # fmt: skip
    sides = Sides()
    datamodule = make_datamodule(config)
    trainer, _ = make_trainer(config, [sides], [])
    trainer.fit(make_classifier(config, datamodule), datamodule)
    assert sides.trained == [20] * 10 + [32] * 10


def test_the_last_stage_is_what_a_run_ends_with() -> None:
    resizing = compose_and_check(["resizing=progressive"])[1].resizing.last_stage()
    assert [resizing.side(run / 10) for run in range(10)] == [32] * 10


@pytest.mark.parametrize(
    ("overrides", "hint"),
    [
        (["resizing.sides=[24,32]"], "2 sides need 1 of them"),
        (["resizing.milestones=[0.6,0.3]"], "should ascend"),
        (["resizing.sides=[]", "resizing.milestones=[]"], "resizing.sides"),
        (["resizing.sides=[8,24,32]"], "resizing.sides"),
    ],
)
def test_stages_that_do_not_fit_are_refused_in_one_line(overrides: list[str], hint: str) -> None:
    with pytest.raises(UserError) as caught:
        compose_and_check(["resizing=progressive", *overrides])
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)
