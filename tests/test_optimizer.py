"""The `optimizer` group: torch's optimizers with exactly the arguments that the options name."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from vgg_cifar.choices import CONF
from vgg_cifar.composition import compose_and_check
from vgg_cifar.errors import UserError
from vgg_cifar.optimizer import OptimizerOptions
from vgg_cifar.weight_decay import WeightDecayOptions

DECAY = 0.05

CASES: dict[str, tuple[dict[str, Any], type[Optimizer], dict[str, Any]]] = {
    "sgd": (
        {"name": "sgd", "lr": 0.1, "momentum": 0.8, "nesterov": True, "bias_scale": 1.0},
        SGD,
        {"lr": 0.1, "momentum": 0.8, "nesterov": True},
    ),
    "sgd without nesterov": (
        {"name": "sgd", "lr": 0.1, "momentum": 0.8, "nesterov": False, "bias_scale": 1.0},
        SGD,
        {"lr": 0.1, "momentum": 0.8},
    ),
    "sgd without momentum": (
        {"name": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": False, "bias_scale": 1.0},
        SGD,
        {"lr": 0.1},
    ),
    "adam": (
        {"name": "adam", "lr": 0.01, "betas": [0.8, 0.95], "eps": 1e-6},
        Adam,
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6},
    ),
    "adamw": (
        {"name": "adamw", "lr": 0.01, "betas": [0.8, 0.95], "eps": 1e-6},
        AdamW,
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6},
    ),
    "rmsprop": (
        {"name": "rmsprop", "lr": 0.01, "alpha": 0.9, "momentum": 0.5, "eps": 1e-6},
        RMSprop,
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "eps": 1e-6},
    ),
}
"""Options of ours, and the optimizer and arguments of torch's that they stand for."""

optimizers: TypeAdapter[Any] = TypeAdapter(OptimizerOptions)
decays: TypeAdapter[Any] = TypeAdapter(WeightDecayOptions)


def by_hand(network: nn.Module, decay: str) -> list[dict[str, Any]]:
    """The parameter groups of each choice of weight decay, found by the kind of layer."""
    heavy, light = [], []
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            weight = name == "weight" and isinstance(module, nn.Conv2d | nn.Linear)
            decayed = decay == "everywhere" or (decay == "standard" and weight)
            (heavy if decayed else light).append(parameter)
    groups = [{"params": heavy, "weight_decay": DECAY}, {"params": light, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def train(network: nn.Module, optimizer: Optimizer, steps: int = 4) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
@pytest.mark.parametrize("decay", ["none", "standard", "everywhere"])
@pytest.mark.parametrize("case", CASES)
def test_steps_equal_those_of_torchs_optimizer(case: str, decay: str, fused: bool) -> None:
    options, kind, arguments = CASES[case]
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 10))
    theirs, untouched = copy.deepcopy(ours), copy.deepcopy(ours)
    chosen = decays.validate_python({"name": decay} | ({} if decay == "none" else {"value": DECAY}))
    optimizer = optimizers.validate_python(options).build(chosen.groups(ours), fused=fused)
    assert type(optimizer) is kind
    train(ours, optimizer)
    train(theirs, kind(by_hand(theirs, decay), **arguments, foreach=False))
    pairs = zip(ours.parameters(), theirs.parameters(), untouched.parameters(), strict=True)
    for our, their, before in pairs:
        torch.testing.assert_close(our, their, rtol=1e-6, atol=1e-6)
        assert not torch.equal(our, before)


@pytest.mark.parametrize("decay", ["none", "standard", "everywhere"])
def test_biases_and_batch_norm_move_at_their_own_multiple_of_the_rate(decay: str) -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 10))
    theirs = copy.deepcopy(ours)
    chosen = decays.validate_python({"name": decay} | ({} if decay == "none" else {"value": DECAY}))
    options = CASES["sgd"][0] | {"bias_scale": 64.0}
    optimizer = optimizers.validate_python(options).build(chosen.groups(ours), fused=True)
    train(ours, optimizer)
    conv, norm, _, linear = theirs
    reference = SGD(
        [
            {"params": [conv.weight, linear.weight], "lr": 0.1, "weight_decay": 0.0 if decay == "none" else DECAY},
            {
                "params": [conv.bias, norm.weight, norm.bias, linear.bias],
                "lr": 6.4,
                "weight_decay": DECAY if decay == "everywhere" else 0.0,
            },
        ],
        momentum=0.8,
        nesterov=True,
    )
    train(theirs, reference)
    for our, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(our, their, rtol=1e-5, atol=1e-5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 6.4]  # charts show the first


@pytest.mark.parametrize("decay", ["none", "standard", "everywhere"])
def test_with_the_same_rate_for_all_the_groups_are_those_of_weight_decay(decay: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    groups = decays.validate_python({"name": decay} | ({} if decay == "none" else {"value": DECAY})).groups(network)
    ours = optimizers.validate_python(CASES["sgd"][0]).build(groups, fused=True).state_dict()
    assert ours == SGD(groups, lr=0.1, momentum=0.8, nesterov=True, fused=True).state_dict()


@pytest.mark.parametrize("case", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("fused", [True, False])
def test_the_fused_form_is_taken_where_it_is_asked_for(case: str, fused: bool) -> None:
    network = nn.Linear(3, 2)
    optimizer = optimizers.validate_python(CASES[case][0]).build([{"params": network.parameters()}], fused=fused)
    assert [group["fused"] for group in optimizer.param_groups] == [fused]


@pytest.mark.parametrize(
    "name", sorted({path.stem for path in (CONF / "optimizer").glob("*.yaml")} - {"custom", "muon"})
)
def test_every_shipped_choice_of_torchs_builds_with_its_own_rate(name: str) -> None:
    shipped = yaml.safe_load((CONF / "optimizer" / f"{name}.yaml").read_text())
    build: Callable[..., Optimizer] = optimizers.validate_python(shipped).build
    optimizer = build([{"params": nn.Linear(3, 2).parameters()}], fused=True)
    assert type(optimizer).__name__.lower() == name
    for key, value in shipped.items():
        if key not in ("name", "bias_scale"):
            assert optimizer.defaults[key] == (tuple(value) if isinstance(value, list) else value)


def test_nesterov_without_momentum_is_refused_with_what_helps() -> None:
    with pytest.raises(UserError) as caught:
        compose_and_check(["optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"])
    message = str(caught.value)
    assert "\n" not in message
    for hint in ("optimizer.nesterov needs momentum", "optimizer.nesterov=false", "optimizer.momentum=0.9"):
        assert hint in message


@pytest.mark.parametrize(
    ("case", "change"),
    [
        ("sgd", {"lr": 0.0}),
        ("sgd", {"momentum": 1.0}),
        ("sgd", {"bias_scale": 0.0}),
        ("adam", {"betas": [0.9]}),
        ("adam", {"betas": [0.9, 1.0]}),
        ("adamw", {"eps": 0.0}),
        ("rmsprop", {"alpha": -0.1}),
        ("rmsprop", {"nesterov": True}),
    ],
    ids=str,
)
def test_what_torch_could_not_use_is_refused(case: str, change: dict[str, Any]) -> None:
    optimizers.validate_python(CASES[case][0])
    with pytest.raises(ValidationError):
        optimizers.validate_python(CASES[case][0] | change)
