"""The `dropout` group: where activations are dropped, and where they never are."""

from typing import Any

import pytest
import torch
import yaml
from pydantic import TypeAdapter, ValidationError
from torch import nn

from vgg_cifar.choices import CONF
from vgg_cifar.dropout import DropoutOptions
from vgg_cifar.model import VGGOptions
from vgg_cifar.vgg import VGG

adapter: TypeAdapter[Any] = TypeAdapter(DropoutOptions)

CHOICES: dict[str, dict[str, Any]] = {
    "none": {"name": "none"},
    "head": {"name": "head", "p": 0.4},
    "all": {"name": "all", "p": 0.4, "p_block": 0.2},
}


def network(choice: str, **changes: Any) -> VGG:
    """A small VGG11 with two hidden fully connected layers and a choice of this group."""
    shipped = yaml.safe_load((CONF / "model" / "vgg11_bn.yaml").read_text())
    options = VGGOptions.model_validate(shipped | {"width": 0.125, "hidden": [64, 64]} | changes)
    return options.build(10, adapter.validate_python(CHOICES[choice]))


def probabilities(network: VGG, kind: type[nn.Module]) -> list[float]:
    """Of the dropout layers of one kind that do anything."""
    return [module.p for module in network.modules() if type(module) is kind and module.p]


@pytest.mark.parametrize(
    ("choice", "in_head", "in_blocks"), [("none", [], []), ("head", [0.4] * 2, []), ("all", [0.4] * 2, [0.2] * 5)]
)
def test_each_choice_drops_where_it_says_and_as_often(
    choice: str, in_head: list[float], in_blocks: list[float]
) -> None:
    built = network(choice)
    assert probabilities(built, nn.Dropout) == in_head
    assert probabilities(built, nn.Dropout2d) == in_blocks


@pytest.mark.parametrize(("choice", "features", "logits"), [("none", 0, 0), ("head", 0, 1), ("all", 1, 1)])
def test_two_passes_in_training_differ_only_behind_what_is_dropped(choice: str, features: int, logits: int) -> None:
    torch.manual_seed(0)
    built = network(choice).train()
    images = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        one, other = built.features(images), built.features(images)
        assert torch.allclose(one, other) == (not features)
        assert torch.allclose(built(images), built(images)) == (not logits)


@pytest.mark.parametrize("choice", CHOICES)
def test_nothing_is_dropped_while_evaluating(choice: str) -> None:
    torch.manual_seed(0)
    plain, built = network("none").eval(), network(choice).eval()
    built.load_state_dict(plain.state_dict())
    images = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(built(images), plain(images))


def test_without_hidden_layers_the_head_has_nothing_to_drop() -> None:
    assert probabilities(network("head", hidden=[]), nn.Dropout) == []


@pytest.mark.parametrize("wrong", [1.0, -0.1, "often"])
@pytest.mark.parametrize(("choice", "option"), [("head", "p"), ("all", "p"), ("all", "p_block")])
def test_a_probability_is_at_least_zero_and_below_one(choice: str, option: str, wrong: Any) -> None:
    assert getattr(adapter.validate_python(CHOICES[choice] | {option: 0.0}), option) == 0
    with pytest.raises(ValidationError):
        adapter.validate_python(CHOICES[choice] | {option: wrong})


@pytest.mark.parametrize(("choice", "option"), [("none", "p"), ("head", "p_block")])
def test_an_option_of_another_choice_is_refused(choice: str, option: str) -> None:
    with pytest.raises(ValidationError):
        adapter.validate_python(CHOICES[choice] | {option: 0.5})
