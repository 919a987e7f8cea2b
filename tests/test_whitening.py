"""Whitening: a first layer whose outputs on the training images are uncorrelated, each direction with its negative."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from vgg_cifar.config import Config
from vgg_cifar.data.datamodule import DataModule
from vgg_cifar.parts import make_classifier, make_datamodule
from vgg_cifar.whitening import EPS, covariance, whiten


def scenes(count: int, seed: int = 0, contrast: float = 20.0) -> Tensor:
    """Smooth noise whose colours go together, as photographs have it, with a mean that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, 20, 20, generator=generator)
    smooth = avg_pool2d(noise, 3, stride=1) + 0.3 * noise[:, :, 1:-1, 1:-1]
    colours = torch.tensor([[1.0, 0.8, 0.5], [0.2, 1.0, 0.7], [0.0, 0.3, 1.0]])
    return contrast * torch.einsum("oc,nchw->nohw", colours, smooth) + 3.0


def whitened(outputs: int, images: Tensor, size: int = 3) -> nn.Conv2d:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, outputs, size)
    whiten(layer, images)
    return layer


def correlations(outputs: Tensor) -> Tensor:
    """The covariance [o, o] of outputs [n, o, h, w] over all images and places."""
    return outputs.transpose(0, 1).flatten(1).double().cov()


def test_the_covariance_is_that_of_all_patches_in_the_order_of_a_filters_weights() -> None:
    images = scenes(7)
    patches = nn.functional.unfold(images.double(), 3).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(covariance(images, (3, 3)), patches.T.cov(correction=0))


def test_the_covariance_of_many_images_is_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = scenes(10)
    whole = covariance(images, (3, 2))
    monkeypatch.setattr("vgg_cifar.whitening.CHUNK", 3)
    torch.testing.assert_close(covariance(images, (3, 2)), whole)
    assert whole.shape == (18, 18)


def test_outputs_are_uncorrelated_and_of_variance_one_where_the_images_were_neither() -> None:
    images = scenes(300)
    before = covariance(images, (3, 3))
    assert float(before.diagonal().min()) > 10
    assert float((before - before.diagonal().diag()).abs().max()) > 10
    with torch.no_grad():
        found = correlations(whitened(64, images)(images)[:, :27])
    torch.testing.assert_close(found, torch.eye(27, dtype=torch.float64), atol=0.01, rtol=0)


def test_directions_that_hardly_vary_are_not_blown_up() -> None:
    images = scenes(50, contrast=0.0) + 1e-4 * scenes(50, seed=1)
    layer = whitened(64, images)
    assert layer.weight[:54].isfinite().all()
    lengths = layer.weight[:54].detach().flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((54,), EPS**-0.5), atol=0.0, rtol=0.01)


@pytest.mark.parametrize("outputs", [1, 2, 8, 53, 54, 64])
def test_negatives_follow_the_filters_and_what_is_left_stays_as_drawn(outputs: int) -> None:
    images = scenes(30)
    layer, complete = whitened(outputs, images), whitened(64, images)
    torch.manual_seed(0)
    drawn = nn.Conv2d(3, outputs, 3)
    count = min(27, outputs // 2)
    assert torch.equal(layer.weight[:count], complete.weight[:count])  # the largest directions first
    assert torch.equal(layer.weight[count : 2 * count], -layer.weight[:count])
    assert torch.equal(layer.weight[2 * count :], drawn.weight[2 * count :])
    assert torch.equal(layer.bias, drawn.bias)
    lengths = layer.weight[:count].detach().flatten(1).norm(dim=1)
    assert torch.equal(lengths, lengths.sort().values)
    assert layer.weight.requires_grad


def test_the_same_images_make_the_same_filters_with_the_sign_of_their_largest_weight() -> None:
    images = scenes(30)
    one, two = whitened(64, images), whitened(64, images.clone())
    assert torch.equal(one.weight, two.weight)
    flipped = whitened(64, -images)  # the same covariance
    torch.testing.assert_close(flipped.weight, one.weight, rtol=1e-3, atol=1e-4)
    directions = one.weight[:27].detach().flatten(1)
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


def first_layer(config: Config, datamodule: DataModule) -> nn.Conv2d:
    layer = make_classifier(config, datamodule).network.features[0]
    assert isinstance(layer, nn.Conv2d)
    return layer


@pytest.mark.parametrize("init", ["kaiming", "dirac", "default"])
def test_a_run_that_asks_for_it_differs_in_its_first_layer_alone(configure: Callable[..., Config], init: str) -> None:
    config = configure("model.width=1", "model.hidden=[]", f"model.init={init}", "model.whiten=true")
    datamodule = make_datamodule(config)
    whitened = make_classifier(config, datamodule).network.state_dict()
    plain = make_classifier(configure("model.width=1", "model.hidden=[]", f"model.init={init}"), datamodule)
    drawn = plain.network.state_dict()
    assert list(whitened) == list(drawn)
    assert [name for name in drawn if not torch.equal(whitened[name], drawn[name])] == ["features.0.weight"]
    first = whitened["features.0.weight"]
    assert torch.equal(first[27:54], -first[:27])
    assert torch.equal(first[54:], drawn["features.0.weight"][54:])
    assert first.is_contiguous(memory_format=torch.channels_last)


def test_the_images_are_those_to_learn_from_normalised_and_not_the_seeds(configure: Callable[..., Config]) -> None:
    config = configure("model.whiten=true")
    datamodule = make_datamodule(config)
    layer = first_layer(config, datamodule)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (config.data.mean, config.data.std))
    expected = whitened(layer.out_channels, (datamodule.train.images / 255 - mean) / std)
    count = layer.out_channels // 2
    torch.testing.assert_close(layer.weight[:count], expected.weight[:count], rtol=1e-3, atol=1e-4)
    again = configure("model.whiten=true", "seed=1")
    assert torch.equal(first_layer(again, make_datamodule(again)).weight, layer.weight)
