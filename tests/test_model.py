"""The `model` group: what a network is built from, and the weights of a file that it may start from."""

import logging
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import Tensor
from torchvision.models import vgg as reference

from vgg_cifar.choices import CONF
from vgg_cifar.dropout import AllDropout, DropoutOptions, NoDropout
from vgg_cifar.errors import UserError
from vgg_cifar.model import VGGOptions
from vgg_cifar.vgg import VGG

NO_DROPOUT = NoDropout(name="none")


def options(**changes: Any) -> VGGOptions:
    """A shipped VGG11, an eighth as wide unless told otherwise."""
    shipped = yaml.safe_load((CONF / "model" / "vgg11_bn.yaml").read_text())
    return VGGOptions.model_validate(shipped | {"width": 0.125, "hidden": [16]} | changes)


def build(dropout: DropoutOptions = NO_DROPOUT, **changes: Any) -> VGG:
    return options(**changes).build(10, dropout)


def torchvisions_state(name: str) -> dict[str, Tensor]:
    """A state dict in torchvision's names and shapes; rows repeat, so that a file of it is small."""
    with torch.device("meta"):
        network = getattr(reference, name)(weights=None)
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(tensor.shape[-1:], generator=generator).expand(tensor.shape)
        for name, tensor in network.state_dict().items()
    }


def mistake(path: Path) -> str:
    """The one line that a user reads when weights cannot be loaded."""
    with pytest.raises(UserError) as caught:
        build(weights=str(path))
    message = str(caught.value)
    assert message.startswith("model.weights: ")
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_network_has_the_shape_that_the_options_ask_for() -> None:
    dropout = AllDropout(name="all", p=0.4, p_block=0.1)
    ours = build(dropout, depth=13, pool="average", grid=2, hidden=[20, 30], width=0.25, bn_momentum=0.3)
    expected = VGG(
        depth=13,
        classes=10,
        hidden=[20, 30],
        pool="average",
        grid=2,
        width=0.25,
        bn_momentum=0.3,
        head_dropout=0.4,
        block_dropout=0.1,
    )
    assert repr(ours) == repr(expected)


@pytest.mark.parametrize("init", ["kaiming", "default"])
def test_weights_are_drawn_from_the_global_generator_as_the_network_draws_them(init: str) -> None:
    torch.manual_seed(5)
    ours = build(init=init).state_dict()
    torch.manual_seed(5)
    expected = VGG(depth=11, classes=10, hidden=[16], width=0.125, init=init).state_dict()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


@pytest.mark.parametrize("path", sorted((CONF / "model").glob("vgg*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_network_has_torchs_running_statistics_and_is_not_whitened(path: Path) -> None:
    shipped = VGGOptions.model_validate(yaml.safe_load(path.read_text()))
    assert (shipped.whiten, shipped.bn_momentum) == (False, 0.1)


@pytest.mark.parametrize("momentum", [0.0, -0.1, 1.1])
def test_running_statistics_that_never_move_or_overshoot_are_refused(momentum: float) -> None:
    with pytest.raises(ValidationError):
        options(bn_momentum=momentum)


def test_the_weights_lie_channels_last() -> None:
    convolutions = [weight for weight in build().parameters() if weight.ndim == 4]
    assert convolutions
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in convolutions)


@pytest.mark.parametrize("depth", [11, 16])
def test_torchvisions_state_dict_gives_its_convolutions_and_what_does_not_fit_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, depth: int
) -> None:
    state = torchvisions_state(f"vgg{depth}_bn")
    torch.save(state, tmp_path / "torchvision.pth")
    with caplog.at_level(logging.INFO):
        network = build(depth=depth, hidden=[512], width=1.0, weights=str(tmp_path / "torchvision.pth"))
    own = network.state_dict()
    convolutional = [name for name in state if name.startswith("features.")]
    assert convolutional == [name for name in own if name.startswith("features.")]
    for name in convolutional:
        assert torch.equal(own[name], state[name].to(own[name].dtype))
    (message,) = caplog.messages
    assert str(tmp_path / "torchvision.pth") in message
    for name in own:
        assert (name in message) == name.startswith("classifier.")


@pytest.mark.parametrize("prefix", ["network.", ""])
def test_a_runs_checkpoint_gives_every_tensor(tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(1)
    trained = build()
    with torch.no_grad():
        trained.train()(torch.randn(4, 3, 32, 32))  # running statistics are part of it
    state = {f"{prefix}{name}": tensor for name, tensor in trained.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3, "optimizer_states": [{}]}, tmp_path / "last.ckpt")
    torch.manual_seed(2)
    assert not torch.equal(build().features[0].weight, trained.features[0].weight)
    loaded = build(weights=str(tmp_path / "last.ckpt"))
    for name, tensor in trained.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded.eval()(images), trained.eval()(images))


def test_a_head_for_other_classes_is_left_as_drawn(tmp_path: Path) -> None:
    torch.save(options().build(7, NO_DROPOUT).state_dict(), tmp_path / "seven.pth")
    torch.manual_seed(3)
    loaded = build(weights=str(tmp_path / "seven.pth"))
    torch.manual_seed(3)
    drawn = build()
    assert torch.equal(loaded.classifier[-1].weight, drawn.classifier[-1].weight)
    assert not torch.equal(loaded.classifier[0].weight, drawn.classifier[0].weight)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no file" in mistake(tmp_path / "nothing.pth")


def test_weights_of_a_network_of_another_shape_are_refused(tmp_path: Path) -> None:
    torch.save(build(width=0.25).state_dict(), tmp_path / "wide.pth")
    message = mistake(tmp_path / "wide.pth")
    assert "does not fit" in message
    assert "features.0.weight" in message


def test_weights_of_a_shallower_network_are_refused_naming_what_is_missing(tmp_path: Path) -> None:
    torch.save(build(depth=11).state_dict(), tmp_path / "shallow.pth")
    with pytest.raises(UserError, match=r"does not fit this network: \d+ of \d+ tensors") as caught:
        build(depth=16, weights=str(tmp_path / "shallow.pth"))
    missing, total = map(int, re.findall(r"(\d+) of (\d+) tensors", str(caught.value))[0])
    assert total == len([name for name in build(depth=16).state_dict() if name.startswith("features.")])
    assert 0 < missing < total


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([1, 2], id="a list"),
        pytest.param(torch.ones(3), id="a tensor"),
        pytest.param({}, id="nothing"),
        pytest.param({"state_dict": {}}, id="an empty state"),
        pytest.param({"state_dict": [1]}, id="a state that is a list"),
        pytest.param({0: torch.ones(3)}, id="tensors without names"),
        pytest.param({"features.0.weight": 1}, id="numbers"),
    ],
)
def test_a_file_that_holds_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "odd.pth")
    mistake(tmp_path / "odd.pth")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"], ids=["empty", "text", "cut off"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.pth").write_bytes(content)
    mistake(tmp_path / "odd.pth")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    mistake(tmp_path)


class Command:
    """Pickled, this is an order to the shell when it is read."""

    def __init__(self, line: str) -> None:
        self.line = line

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.line,)


@pytest.mark.parametrize("nested", [True, False], ids=["among tensors", "alone"])
@pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "zip"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, nested: bool, legacy: bool) -> None:
    marker = tmp_path / "the command has run"
    command = Command(f"touch '{marker}'")
    path = tmp_path / "weights.pth"
    content = build().state_dict() | {"extra": command} if nested else command
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    mistake(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the command was a live one
    assert marker.exists()


def test_a_plain_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "the command has run"
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(Command(f"touch '{marker}'")))
    mistake(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the command was a live one
    assert marker.exists()
