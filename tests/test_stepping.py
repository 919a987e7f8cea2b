"""Recorded steps learn what steps taken one by one do; recording, a GPU's affair, and compiling are pretended here."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor

from vgg_cifar import stepping
from vgg_cifar.config import Config
from vgg_cifar.data.loader import Batch
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer
from vgg_cifar.runs.folder import RunFolder

RUN = ("data.train_size=220", "data.batch_size=64", "data.val_fraction=0", "trainer.max_epochs=3", "dropout=head")
# 64, 64, 64 and 28 images, three times


class Pretended:
    """Records a step as a GPU does: it takes none, and repeats it without a word from whoever recorded it."""

    recordings = 0

    def __call__(self, step: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        Pretended.recordings += 1
        loss = step()
        taken = [True]  # a CPU cannot record without doing: the first repetition is done already

        def repeat() -> None:
            if not taken:
                loss.copy_(step())
            taken.clear()

        return repeat, loss


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "CUDAGraphs", Pretended)
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    Pretended.recordings = 0


def trained(config: Config, compile: Any) -> tuple[dict[str, Tensor], dict[str, float], list[float]]:
    datamodule = make_datamodule(config)
    classifier = make_classifier(config.model_copy(update={"compile": compile}), datamodule)
    trainer, _ = make_trainer(config, [], [])
    trainer.fit(classifier, datamodule)
    rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
    return classifier.network.state_dict(), classifier.results, rates


@pytest.mark.parametrize(
    "choice",
    [
        (),
        ("optimizer=muon", "schedule=onecycle"),
        ("optimizer=adamw", "augmentation=mix"),
        ("sharpness=sam",),
        ("trainer.precision=bf16-true",),
        ("augmentation=regmixup", "augmentation.mix_until=0.5"),
        ("resizing=progressive", "resizing.sides=[16,32]", "resizing.milestones=[0.5]"),
    ],
)
def test_repeated_steps_are_the_steps(configure: Callable[..., Config], choice: tuple[str, ...]) -> None:
    config = configure(*RUN, *choice)
    weights, results, rates = trained(config, compile=False)
    repeated, same_results, same_rates = trained(config, compile="graphs")
    assert all(torch.equal(repeated[name], weights[name]) for name in weights)
    assert same_results == results
    assert same_rates == rates
    assert all(isinstance(rate, float) for rate in same_rates)
    assert Pretended.recordings >= 2


@pytest.mark.parametrize("choice", [(), ("sharpness=sam", "augmentation=mix")], ids=["plain", "sam and mix"])
def test_repeated_steps_ask_the_teachers_about_their_own_images(
    configure: Callable[..., Config], train: Callable[..., RunFolder], choice: tuple[str, ...]
) -> None:
    teacher = train(*RUN, "trainer.max_epochs=1", to="teacher")
    taught = ("distillation=soft_targets", f"distillation.teachers=[{teacher.path}]", "distillation.weight=0.9")
    config = configure(*RUN, *choice, *taught)
    weights, results, _ = trained(config, compile=False)
    repeated, same_results, _ = trained(config, compile="graphs")
    assert all(torch.equal(repeated[name], weights[name]) for name in weights)
    assert same_results == results
    untaught, _, _ = trained(configure(*RUN, *choice), compile="graphs")
    assert not torch.equal(untaught["features.0.weight"], weights["features.0.weight"])


def test_each_shape_is_recorded_at_its_second_step(configure: Callable[..., Config]) -> None:
    trained(configure(*RUN, "trainer.max_epochs=1"), compile="graphs")
    assert Pretended.recordings == 1, "the last batch of an epoch came once"
    trained(configure(*RUN, "trainer.max_epochs=2"), compile="graphs")
    assert Pretended.recordings == 3


def test_a_step_that_somebody_looks_into_is_taken_as_it_is(configure: Callable[..., Config]) -> None:
    config = configure(*RUN)
    datamodule = make_datamodule(config)
    classifier = make_classifier(config.model_copy(update={"compile": "graphs"}), datamodule)
    seen: list[int] = []

    class Gradients(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            pl_module.stepping.as_it_is = trainer.global_step in (5, 6)

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            if not classifier.stepping.is_recording:
                seen.append(trainer.global_step)

    trainer, _ = make_trainer(config, [Gradients()], [])
    trainer.fit(classifier, datamodule)
    # The first of each of the two shapes, and those two; the recordings are no steps.
    assert seen == [0, 3, 5, 6]


@pytest.mark.parametrize(
    ("compile", "compiled", "prepares"),
    [
        (False, [], [False, False, False, False, False]),
        (True, [64, 64, 64], [True, False, False, False, False]),
        ("graphs", [64, 64, 64], [True, True, False, False, True]),
    ],
)
def test_only_the_largest_batches_are_worth_a_compilation(
    monkeypatch: pytest.MonkeyPatch, compile: Any, compiled: list[int], prepares: list[bool]
) -> None:
    through: list[int] = []

    def pretended_compilation(forward: Callable[[Tensor], Tensor], **_: Any) -> Callable[[Tensor], Tensor]:
        def call(images: Tensor) -> Tensor:
            through.append(len(images))
            return forward(images)

        return call

    monkeypatch.setattr(torch, "compile", pretended_compilation)
    network = torch.nn.Flatten()
    steps = stepping.Stepping(network, compile)
    prepared = []
    for size in (64, 64, 28, 64, 28):
        batch = Batch(torch.rand(size, 3, 4, 4), torch.zeros(size, dtype=torch.int64), size, size, 1, "train")
        steps.begin(batch)
        prepared.append(steps.prepares(batch))
        assert torch.equal(steps.logits(batch), network(batch.images))
        steps.end()
    assert through == compiled
    assert prepared == prepares
