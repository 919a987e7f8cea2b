"""Generated images: the same for a seed, in balanced classes, and nothing that a linear model could tell apart."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F  # noqa: N812

from vgg_cifar.data.dataset import Split
from vgg_cifar.data.synthetic import generate
from vgg_cifar.runs.folder import RunFolder


def logistic_regression(train: Split, test: Split) -> float:
    """Test top-1 of multinomial logistic regression on standardised pixels, fitted by L-BFGS with a little decay."""
    inputs = train.images.flatten(1).float()
    mean, std = inputs.mean(0), inputs.std(0)
    inputs = (inputs - mean) / std
    model = torch.nn.Linear(inputs.shape[1], 100)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=60)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), train.labels) + 1e-3 * model.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    logits = model((test.images.flatten(1).float() - mean) / std)
    return float((logits.argmax(1) == test.labels).float().mean())


def test_a_seed_gives_the_same_images_and_another_seed_others() -> None:
    first, again, other = generate(200, 100, 0), generate(200, 100, 0), generate(200, 100, 1)
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.test.images, again.test.images)
    assert not torch.equal(first.train.images, other.train.images)


def test_the_test_images_are_not_training_images() -> None:
    dataset = generate(200, 200, 0)
    assert not (dataset.train.images == dataset.test.images).flatten(1).all(1).any()


def test_classes_and_superclasses_are_balanced() -> None:
    dataset = generate(1000, 500, 0)
    assert dataset.train.images.shape == (1000, 3, 32, 32)
    assert dataset.train.images.dtype == torch.uint8
    assert torch.bincount(dataset.train.labels).tolist() == [10] * 100
    assert dataset.superclass_of is not None
    assert torch.bincount(dataset.superclass_of).tolist() == [5] * 20
    assert (len(set(dataset.classes)), len(set(dataset.superclasses))) == (100, 20)


def test_the_quickstart_learns_what_logistic_regression_on_pixels_cannot(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command("train.py", "experiment=quickstart", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    assert f"Run folder: {tmp_path}/run" in done.stdout
    assert "chance 1.00%" in done.stdout
    assert f"tensorboard --logdir {tmp_path}/run" in done.stdout
    folder = RunFolder(tmp_path / "run")
    options = folder.read_config()["data"]
    dataset = generate(options["train_size"], options["test_size"], options["seed"])
    accuracy = folder.read_result()["test/top1"]
    assert accuracy >= 0.2
    assert accuracy >= 3 * logistic_regression(dataset.train, dataset.test)
