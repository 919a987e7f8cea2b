"""What a run's network says about pictures, asked from Python."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PROJECT
from PIL import Image
from torch import Tensor

import vgg_cifar
from vgg_cifar.convolution import faster
from vgg_cifar.data.loader import Normalise
from vgg_cifar.errors import RunError, UserError
from vgg_cifar.prediction.predictor import LEAST, Prediction, Predictor
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.trained import restore


def picture(image: Tensor) -> Image.Image:
    """Uint8 [3, 32, 32] as a Pillow image."""
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def test_says_what_the_runs_network_says_of_its_test_images(trained: RunFolder, predictor: Predictor) -> None:
    restored = restore(trained)
    data = restored.config.data
    split = data.load().test
    normalise = Normalise.of(data.mean, data.std, torch.device("cpu"))
    with torch.inference_mode():
        logits = restored.network(normalise(split.images))
    found = predictor.probabilities(list(split.images))
    torch.testing.assert_close(found, logits.softmax(1), atol=1e-6, rtol=0)
    assert float(found.max()) > 0.2  # the network tells images apart, so this says something
    labels = [restored.classes[place] for place in logits.argmax(1)]
    assert [each.label for each in predictor.predict(split.images)] == labels


def test_an_image_has_the_same_answer_in_any_batch(predictor: Predictor, noise: Tensor) -> None:
    together = predictor.probabilities(noise)
    assert (together.dtype, together.shape) == (torch.float32, (50, 100))
    torch.testing.assert_close(together.sum(1), torch.ones(50))
    for size in (1, 2, 3, 7, 16, 33, 50, 1000):
        torch.testing.assert_close(predictor.probabilities(noise, size), together, atol=1e-6, rtol=0)
    torch.testing.assert_close(predictor.probabilities(noise[17]), together[17:18], atol=1e-6, rtol=0)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


@pytest.mark.parametrize("instructions", ["AMX", "AVX512", "AVX2"])
def test_one_image_is_convolved_as_many_are(instructions: str) -> None:
    assert max(way.images for way in faster(instructions).values()) <= LEAST


def test_takes_files_images_arrays_and_tensors_together(predictor: Predictor, noise: Tensor, tmp_path: Path) -> None:
    picture(noise[0]).save(tmp_path / "a.png")
    array = noise[3:5].permute(0, 2, 3, 1).numpy()
    mixed = [tmp_path / "a.png", picture(noise[1]), noise[2], array, str(tmp_path / "a.png")]
    expected = predictor.probabilities(noise[[0, 1, 2, 3, 4, 0]])
    for size in (2, 64):
        torch.testing.assert_close(predictor.probabilities(mixed, size), expected, atol=1e-6, rtol=0)
    for alone in (tmp_path / "a.png", str(tmp_path / "a.png"), picture(noise[0]), noise[0], noise[0].numpy()):
        (found,) = predictor.predict(alone)
        assert found == predictor.predict(noise[:1])[0]
    assert predictor.predict([]) == []
    assert predictor.predict(noise[:0]) == []


def test_a_prediction_ranks_all_classes(predictor: Predictor, noise: Tensor) -> None:
    (found,) = predictor.predict(noise[0])
    assert sorted(found.classes) == sorted(predictor.classes)
    assert list(found.probabilities) == sorted(found.probabilities, reverse=True)
    assert sum(found.probabilities) == pytest.approx(1, abs=1e-5)
    assert (found.label, found.confidence) == found.top(1)[0] == (found.classes[0], found.probabilities[0])
    assert found.top(3) == list(zip(found.classes[:3], found.probabilities[:3], strict=True))
    assert len(found.top()) == 5
    assert len(found.top(1000)) == 100
    # Of the synthetic images a class is a superclass and a colour.
    assert found.superclass is not None
    assert found.label.startswith(found.superclass)
    with pytest.raises(AttributeError):
        found.superclass = "other"  # type: ignore[misc]


def test_equally_likely_classes_keep_their_order(predictor: Predictor) -> None:
    class Even(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.zeros(len(images), 3)

    trained = replace(predictor.trained, network=Even(), classes=["b", "c", "a"], superclass_names=[])
    found = Predictor(trained, "cpu").predict(np.zeros((32, 32, 3), np.uint8))
    assert found == [Prediction(("b", "c", "a"), (pytest.approx(1 / 3),) * 3, None)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ("nowhere.png", r"^nowhere\.png: there is no such file$"),
        ([np.zeros((32, 32, 3), np.uint8), torch.zeros(3, 32, 32)], r"^image 1: it is an array of float32; uint8"),
        ([None], "^image 0: it is a NoneType; a path"),
        (Image.new("RGB", (0, 0)), "^image 0: it has no pixels"),
        ("~nobody-of-this-name/a.png", "no such"),
    ],
)
def test_an_image_that_cannot_be_read_is_named(predictor: Predictor, images: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        predictor.predict(images)


def test_the_images_of_a_new_run_are_not_needed(
    trained: RunFolder, noise: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgg_cifar.data.options.Synthetic.load", lambda *_: pytest.fail("the images were loaded"))
    assert vgg_cifar.load(trained.path, "last", "cpu").predict(noise[0])


def test_any_checkpoint_can_be_asked(trained: RunFolder, noise: Tensor, tmp_path: Path) -> None:
    other = tmp_path / "other.ckpt"
    content = checkpoints.read(trained.checkpoint("last"))
    content["state_dict"]["network.classifier.6.weight"] *= -1
    checkpoints.write(content, other)
    found = {which: vgg_cifar.load(trained.path, which, "cpu").probabilities(noise) for which in ("last", other)}
    assert not torch.allclose(found["last"], found[other], atol=1e-3)
    with pytest.raises(UserError, match=r"checkpoint: there is no .*nowhere\.ckpt"):
        vgg_cifar.load(trained.path, tmp_path / "nowhere.ckpt")


def test_precision_around_it_changes_nothing(predictor: Predictor, noise: Tensor) -> None:
    expected = predictor.probabilities(noise)
    with torch.autocast("cpu", torch.bfloat16):
        found = predictor.probabilities(noise)
    assert torch.equal(found, expected)
    assert not found.is_inference()


def test_numbers_that_are_not_finite_are_no_answer(trained: RunFolder, noise: Tensor) -> None:
    damaged = Predictor.load(trained.path, device="cpu")
    next(damaged.trained.network.parameters()).data.fill_(torch.nan)
    with pytest.raises(RunError, match="not finite"):
        damaged.predict(noise)


@pytest.mark.parametrize(
    ("device", "reason"), [("cuda:99", "torch finds no cuda:99"), ("tpu", "torch finds no tpu"), ("meta", "no meta")]
)
def test_a_device_that_is_not_there_is_named(trained: RunFolder, device: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        vgg_cifar.load(trained.path, device=device)


def test_loads_in_a_fresh_python_and_the_package_itself_is_light(
    trained: RunFolder, noise: Tensor, tmp_path: Path, predictor: Predictor, train: Callable[..., RunFolder]
) -> None:
    picture(noise[0]).save(tmp_path / "a.png")
    code = """
import sys, vgg_cifar
assert not {"torch", "PIL", "numpy", "lightning", "hydra", "omegaconf"} & set(sys.modules)
print(vgg_cifar.load(sys.argv[1], device="cpu").predict("a.png")[0].label)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, trained.path], cwd=tmp_path, env={"PYTHONPATH": str(PROJECT / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, predictor.predict(noise[0])[0].label), done.stderr
