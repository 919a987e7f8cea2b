"""The `weight_decay` group: which parameters are pulled to zero, and how strongly."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from vgg_cifar.vgg import VGG
from vgg_cifar.weight_decay import WeightDecayOptions

adapter: TypeAdapter[Any] = TypeAdapter(WeightDecayOptions)

CHOICES = {
    "none": {"name": "none"},
    "standard": {"name": "standard", "value": 0.25},
    "everywhere": {"name": "everywhere", "value": 0.25},
}


@pytest.fixture(params=[11, 16])
def network(request: pytest.FixtureRequest) -> VGG:
    with torch.device("meta"):
        return VGG(depth=request.param, classes=10, hidden=[32, 16], width=0.125, block_dropout=0.1)


def decays(network: nn.Module, choice: dict[str, Any]) -> dict[str, float]:
    """The decay of each parameter, by its name."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    groups = adapter.validate_python(choice).groups(network)
    return {names[parameter]: group["weight_decay"] for group in groups for parameter in group["params"]}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_parameter_is_in_exactly_one_group(network: VGG, choice: str) -> None:
    groups = adapter.validate_python(CHOICES[choice]).groups(network)
    grouped: list[Tensor] = [parameter for group in groups for parameter in group["params"]]
    assert sorted(map(id, grouped)) == sorted(map(id, network.parameters()))


def test_standard_pulls_the_weights_of_convolutions_and_fully_connected_layers_and_nothing_else(network: VGG) -> None:
    expected = {
        f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }
    found = decays(network, CHOICES["standard"])
    assert {name for name, decay in found.items() if decay} == expected
    assert {found[name] for name in expected} == {0.25}


def test_everywhere_pulls_everything_alike(network: VGG) -> None:
    assert set(decays(network, CHOICES["everywhere"]).values()) == {0.25}


def test_none_pulls_nothing(network: VGG) -> None:
    assert set(decays(network, CHOICES["none"]).values()) == {0.0}


@pytest.mark.parametrize("choice", ["standard", "everywhere"])
def test_a_decay_may_be_zero_but_not_negative(choice: str) -> None:
    assert adapter.validate_python({"name": choice, "value": 0.0}).value == 0
    with pytest.raises(ValidationError):
        adapter.validate_python({"name": choice, "value": -0.1})
