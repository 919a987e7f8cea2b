"""The LightningModule: it learns, and its arithmetic is that of a loop anybody could write."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.nn import functional as F  # noqa: N812

from vgg_cifar import draws
from vgg_cifar.classifier import Classifier
from vgg_cifar.config import Config
from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.data.loader import Batch
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer

STEPS = 50
CURVE = (
    "data.train_size=1650",
    "data.batch_size=64",
    "data.val_fraction=0",
    "augmentation=none",
    "dropout=none",
    "trainer.max_epochs=2",
    f"trainer.max_steps={STEPS}",
    "optimizer.lr=0.02",
)


class Losses(Callback):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.values.append(float(outputs["loss"]))


def fit(config: Config, datamodule: DataModule, classifier: Classifier) -> list[float]:
    losses = Losses()
    trainer, _ = make_trainer(config, [losses], [])
    trainer.fit(classifier, datamodule)
    return losses.values


def test_fifty_steps_through_lightning_equal_a_bare_loop(configure: Callable[..., Config]) -> None:
    config = configure(*CURVE)
    datamodule = make_datamodule(config)
    found = fit(config, datamodule, make_classifier(config, datamodule))

    network = make_classifier(config, datamodule).network
    weights = [p for name, p in network.named_parameters() if p.ndim > 1]
    others = [p for name, p in network.named_parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": weights, "weight_decay": 5e-4}, {"params": others}], lr=0.02, momentum=0.9, nesterov=True
    )
    images, labels = datamodule.train.images, datamodule.train.labels
    expected = []
    for epoch in range(2):
        for indices in draws.order(len(labels), config.seed, epoch, "order").split(64):
            if len(expected) == STEPS:
                break
            for group in optimizer.param_groups:
                group["lr"] = 0.02 * config.schedule.factor(len(expected), STEPS)
            batch = (images[indices] / 255 - 0.5) / 0.15
            loss = F.cross_entropy(network(batch), labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            expected.append(loss.item())
    assert len(found) == STEPS
    # Fused steps round differently; the difference grows with the steps.
    torch.testing.assert_close(torch.tensor(found[:10]), torch.tensor(expected[:10]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-2, atol=1e-2)
    assert expected[-1] < expected[0]


TWO_RANKS = """
import sys
import torch
from torch import nn
from vgg_cifar.command_line import quiet, register_resolvers
from vgg_cifar.composition import compose_and_check
quiet()
register_resolvers()
from lightning.pytorch import Callback
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer

class Losses(Callback):
    values = []
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        # The average over the ranks is the loss of the whole step.
        self.values.append(float(trainer.strategy.reduce(outputs["loss"].clone(), reduce_op="mean")))

config = compose_and_check(sys.argv[2:])[1]
datamodule = make_datamodule(config)
classifier = make_classifier(config, datamodule)
for name, module in list(classifier.network.features.named_children()):
    if isinstance(module, nn.BatchNorm2d):  # torch shares batch statistics on GPUs only
        classifier.network.features[int(name)] = nn.Identity()
trainer, _ = make_trainer(config, [Losses()], [])
trainer.fit(classifier, datamodule)
if trainer.is_global_zero:
    torch.save(Losses.values, sys.argv[1])
"""


def test_fifty_steps_on_two_ranks_equal_one(tiny: list[str], tmp_path: Path) -> None:
    script = tmp_path / "two_ranks.py"
    script.write_text(TWO_RANKS)
    source = Path(__file__).resolve().parents[1] / "src"
    curves = []
    for devices in (1, 2):
        result = tmp_path / f"{devices}.pt"
        words = [*tiny, *CURVE, "data.batch_size=63", f"trainer.devices={devices}"]
        environment = {"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        subprocess.run(
            [sys.executable, script, result, *words], env=environment, check=True, timeout=300, capture_output=True
        )
        curves.append(torch.tensor(torch.load(result, weights_only=True)))
    assert len(curves[0]) == STEPS
    torch.testing.assert_close(curves[0], curves[1], rtol=1e-4, atol=1e-4)


def test_the_vgg_overfits_64_images(configure: Callable[..., Config]) -> None:
    config = configure(
        "model=vgg16_bn", "model.width=0.25", "data.train_size=64", "data.val_fraction=0", "dropout=none",
        "augmentation=none", "weight_decay=none", "optimizer=adam", "trainer.max_epochs=40",
    )  # fmt: skip
    datamodule = make_datamodule(config)
    classifier = make_classifier(config, datamodule)
    fit(config, datamodule, classifier)
    assert classifier.results["train/top1"] == 1.0
    assert classifier.results["train/loss"] < 0.1


def test_the_original_network_trains(configure: Callable[..., Config]) -> None:
    config = configure("model=vgg16_bn_original", "model.hidden=[64,64]", "data.train_size=64", "trainer.max_epochs=1")
    datamodule = make_datamodule(config)
    losses = fit(config, datamodule, make_classifier(config, datamodule))
    assert torch.tensor(losses).isfinite().all()


def test_label_smoothing_is_for_training_only(configure: Callable[..., Config]) -> None:
    config = configure("label_smoothing=0.5", "optimizer.lr=1e-12", "dropout=none", "trainer.max_epochs=1")
    datamodule = make_datamodule(config)
    classifier = make_classifier(config, datamodule)
    trainer, _ = make_trainer(config, [], [])
    trainer.test(classifier, datamodule, verbose=False)
    with torch.no_grad():
        images = (datamodule.dataset.test.images / 255 - 0.5) / 0.15
        expected = F.cross_entropy(classifier.network.eval()(images), datamodule.dataset.test.labels)
    assert classifier.results["test/loss"] == pytest.approx(float(expected), rel=1e-5)


def test_dropout_depends_on_the_step_not_on_what_was_drawn_before(configure: Callable[..., Config]) -> None:
    config = configure("dropout=all", "trainer.max_epochs=1", "data.val_fraction=0")
    datamodule = make_datamodule(config)
    first = fit(config, datamodule, make_classifier(config, datamodule))
    classifier = make_classifier(config, datamodule)
    torch.rand(1000)
    assert fit(config, make_datamodule(config), classifier) == first


def test_a_classifier_made_for_evaluation_says_so_when_it_is_trained(configure: Callable[..., Config]) -> None:
    config = configure()
    datamodule = make_datamodule(config)
    classifier = Classifier(make_classifier(config, datamodule).network)
    with pytest.raises(RuntimeError, match="made for evaluation"):
        Trainer(accelerator="cpu", logger=False, enable_checkpointing=False).fit(classifier, datamodule)


def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses(configure: Callable[..., Config]) -> None:
    config = configure("label_smoothing=0.1", "dropout=none")
    datamodule = make_datamodule(config)
    classifier = make_classifier(config, datamodule)
    classifier.trainer, _ = make_trainer(config, [], [])
    classifier.trainer.optimizers = [torch.optim.SGD(classifier.parameters(), lr=0.1)]
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels, others = torch.arange(6), torch.arange(6) + 10
    share = torch.tensor([0.0, 0.2, 0.5, 0.7, 0.9, 1.0])
    found = classifier.training_step(Batch(images, labels, 6, 6, 1, "train", others, share), 0)
    targets = share[:, None] * F.one_hot(labels, 100) + (1 - share)[:, None] * F.one_hot(others, 100)
    expected = F.cross_entropy(classifier.network(images), targets, label_smoothing=0.1)
    torch.testing.assert_close(found, expected)


def test_regmixup_learns_from_images_and_mixtures_alike_and_tallies_the_images(
    configure: Callable[..., Config],
) -> None:
    config = configure("label_smoothing=0.1", "dropout=none")
    datamodule = make_datamodule(config)
    classifier = make_classifier(config, datamodule)
    classifier.trainer, _ = make_trainer(config, [], [])
    classifier.trainer.optimizers = [torch.optim.SGD(classifier.parameters(), lr=0.1)]
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = classifier.network(images).detach()
    right = logits[:4].argmax(1)
    right[3] = logits[3].argmin()  # three of four
    labels, others = right.repeat(2), torch.arange(8)
    share = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.1, 0.4, 0.6, 1.0])
    found = classifier.training_step(Batch(images, labels, 4, 12, 3, "train", others, share), 0)
    whole = F.cross_entropy(logits[:4], right, label_smoothing=0.1)
    targets = share[4:, None] * F.one_hot(right, 100) + (1 - share[4:, None]) * F.one_hot(others[4:], 100)
    mixtures = F.cross_entropy(logits[4:], targets, label_smoothing=0.1)
    torch.testing.assert_close(found, (whole + mixtures) / 2 * (4 * 3 / 12))
    tally = classifier.tallies["train_split"].compute()
    assert float(tally["top1"]) == 0.75
    assert float(tally["loss"]) == pytest.approx(float(whole), rel=1e-5)


def test_a_stand_in_for_images_and_mixtures_weighs_nothing(configure: Callable[..., Config]) -> None:
    config = configure("dropout=none")
    datamodule = make_datamodule(config)
    classifier = make_classifier(config, datamodule)
    classifier.trainer, _ = make_trainer(config, [], [])
    batch = Batch(
        torch.ones(2, 3, 32, 32), torch.zeros(2).long(), 0, 1, 2, "train", torch.ones(2).long(), torch.ones(2)
    )
    assert classifier.training_step(batch, 1).item() == 0
    assert int(classifier.tallies["train_split"].sums()["count"]) == 0


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed"])
@pytest.mark.parametrize(
    "options", [["augmentation=mix"], ["augmentation=regmixup"], ["trainer.gradient_clip_val=1.0"], ["optimizer=muon"]]
)
def test_every_arithmetic_trains(configure: Callable[..., Config], precision: str, options: list[str]) -> None:
    config = configure(f"trainer.precision={precision}", "trainer.max_epochs=1", *options)
    datamodule = make_datamodule(config)
    losses = fit(config, datamodule, make_classifier(config, datamodule))
    assert torch.tensor(losses).isfinite().all()


class Kept(Callback):
    """Remembers what a checkpoint would hold after some step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.checkpoint: dict[str, Any] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            pl_module.on_save_checkpoint(self.checkpoint)
            self.checkpoint = copy.deepcopy(self.checkpoint)


def test_what_an_epoch_has_tallied_goes_on(configure: Callable[..., Config]) -> None:
    config, kept = configure("data.val_fraction=0", "trainer.max_epochs=1"), Kept(3)
    datamodule = make_datamodule(config)
    classifier = make_classifier(config, datamodule)
    trainer, _ = make_trainer(config, [kept], [])
    trainer.fit(classifier, datamodule)
    so_far = kept.checkpoint["epoch_so_far"]
    assert so_far["tally"]["count"].tolist() == [3 * 64]
    assert [step for step, *_ in so_far["lately"]] == [1, 2]  # the first was logged
    other = make_classifier(config, datamodule)
    other.trainer = trainer
    other.on_load_checkpoint(kept.checkpoint)
    for name, value in other.tallies["train_split"].sums().items():
        assert torch.equal(value, so_far["tally"][name][0])


def test_on_fewer_ranks_the_first_takes_what_all_had_tallied(configure: Callable[..., Config]) -> None:
    config = configure()
    datamodule = make_datamodule(config)
    classifier = make_classifier(config, datamodule)
    classifier.trainer, _ = make_trainer(config, [], [])
    of_two = {"loss": torch.tensor([1.0, 2.0]), "hits": torch.tensor([[3], [4]]), "count": torch.tensor([5, 6])}
    classifier.on_load_checkpoint({"epoch_so_far": {"tally": of_two, "lately": [], "results": {"val/top1": 0.5}}})
    sums = classifier.tallies["train_split"].sums()
    assert {name: value.tolist() for name, value in sums.items()} == {"loss": 3.0, "hits": [7], "count": 11}
    assert classifier.results == {"val/top1": 0.5}
