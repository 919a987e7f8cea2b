"""A network made of torch's own layers is the same network."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from vgg_cifar.config import Config
from vgg_cifar.exporting.portable import plain
from vgg_cifar.vgg import VGG


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=vgg16_bn_original",), ("model.pool=average",), ("model=vgg19_bn", "dropout=all"),
        ("model.hidden=[]", "model.grid=3"), ("model.hidden=[512,512]", "dropout=head"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_kind_of_network_is_the_same_without_layers_of_our_own(
    configure: Callable[..., Config], overrides: tuple[str, ...]
) -> None:
    config = configure(*overrides)
    network = config.model.build(100, config.dropout)
    with torch.no_grad():
        network(torch.randn(64, 3, 32, 32))  # so that batch norm has something to do
        images = torch.randn(5, 3, 32, 32)
        expected, found = network.eval()(images), plain(network)(images)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert all(type(module).__module__.startswith("torch.") for module in list(plain(network).modules())[1:])


@pytest.mark.parametrize("dropout", [0, 0.1])
def test_every_relu_stands_behind_its_batch_norm_where_runtimes_look_for_it(dropout: float) -> None:
    found = plain(VGG(depth=16, width=0.125, block_dropout=dropout)).get_submodule("features")
    end = nn.Sequential if dropout else nn.MaxPool2d
    expected = make_layers(cfgs["D"], batch_norm=True)
    kinds = [end if isinstance(layer, nn.MaxPool2d) else type(layer) for layer in expected]
    assert [type(layer) for layer in found.children()] == kinds
