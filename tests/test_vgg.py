"""VGG: torchvision's network where the options say so, smaller where they say otherwise."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import vgg as reference

from vgg_cifar.vgg import VGG

DEPTHS = {11: "A", 13: "B", 16: "D", 19: "E"}
"""The letter under which the paper, and torchvision, list each depth."""


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def random_images(count: int, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def random_like(network: nn.Module) -> dict[str, Tensor]:
    """A state dict with random weights, and with running statistics as training might leave them."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        drawn = torch.empty(tensor.shape)
        if name.endswith("running_var"):
            state[name] = drawn.uniform_(0.5, 2, generator=generator)
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(3)
        elif tensor.ndim > 1:
            state[name] = drawn.uniform_(-1, 1, generator=generator) * math.sqrt(6 / tensor[0].numel())
        else:
            state[name] = drawn.uniform_(-0.5, 1.5, generator=generator)
    return state


def trained(network: nn.Module) -> nn.Module:
    """The network with batch norm's running statistics moved away from where they begin."""
    with torch.no_grad():
        network.train()(random_images(8))
    return network


@pytest.mark.parametrize("depth", DEPTHS)
def test_names_and_shapes_are_torchvisions(depth: int) -> None:
    with torch.device("meta"):
        ours = VGG(depth=depth, classes=1000, hidden=[4096, 4096], grid=7)
        theirs = getattr(reference, f"vgg{depth}_bn")(weights=None)
    assert shapes(ours) == shapes(theirs)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_convolutions_are_those_of_the_paper(depth: int) -> None:
    network = VGG(depth=depth, classes=10, width=0.125)
    widths = [size // 8 for size in reference.cfgs[DEPTHS[depth]] if size != "M"]
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [convolution.out_channels for convolution in convolutions] == widths
    assert {(convolution.kernel_size, convolution.padding) for convolution in convolutions} == {((3, 3), (1, 1))}
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert len(convolutions) + len(linear) == depth


def test_vgg16_with_a_single_layer_on_top_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = VGG(depth=16, classes=100, hidden=[])
    assert sum(parameter.numel() for parameter in network.parameters()) == 14_774_436


@pytest.mark.parametrize("hidden", [[], [48], [512, 512], [30, 20, 10]])
def test_the_head_has_the_layers_asked_for(hidden: list[int]) -> None:
    network = VGG(depth=11, classes=7, hidden=hidden, width=0.125, grid=2)
    linear = [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]
    sizes = [512 // 8 * 2 * 2, *hidden, 7]
    assert linear == list(pairwise(sizes))
    assert network(random_images(2)).shape == (2, 7)


@pytest.mark.parametrize("side", [32, 64], ids=["one pixel for the grid", "four pixels for the grid"])
def test_with_torchvisions_weights_outputs_and_gradients_are_torchvisions(side: int) -> None:
    with torch.device("meta"):
        ours = VGG(depth=11, classes=10, hidden=[64, 64], grid=7)
        theirs = reference.vgg11_bn(weights=None)
        theirs.classifier = nn.Sequential(
            nn.Linear(25088, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10)
        )
    state = random_like(theirs)
    images = random_images(1, side).double()
    outputs = []
    for network in (ours, theirs):
        network.load_state_dict(state, assign=True)
        outputs.append(network.double().eval()(images))
        outputs[-1].square().sum().backward()
    assert outputs[0].std() > 0
    torch.testing.assert_close(outputs[0], outputs[1])
    for (name, own), reference_weight in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own.grad, reference_weight.grad, msg=lambda text, name=name: f"{name}: {text}")


def test_training_in_bfloat16_pooling_before_the_relu_changes_no_bit() -> None:
    torch.manual_seed(0)
    sizes = [size if size == "M" else size // 16 for size in reference.cfgs["A"]]  # type: ignore[operator]
    theirs = reference.make_layers(sizes, batch_norm=True)
    ours = VGG(depth=11, width=1 / 16).features
    theirs.load_state_dict(ours.state_dict())
    images = random_images(16)
    outputs = []
    for features in (ours, theirs):
        with torch.autocast("cpu", torch.bfloat16):
            outputs.append(features(images))
        outputs[-1].float().square().sum().backward()
    assert outputs[0].dtype == torch.bfloat16
    assert outputs[0].count_nonzero() > 0
    assert torch.equal(outputs[0], outputs[1])
    for own, theirs_weight in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert own.grad is not None
        assert theirs_weight.grad is not None
        assert torch.equal(own.grad, theirs_weight.grad)


def test_average_pooling_takes_the_place_of_every_max_pooling() -> None:
    ours = VGG(depth=11, classes=10, hidden=[], pool="average").eval()
    theirs = reference.make_layers(reference.cfgs["A"], batch_norm=True).eval()
    theirs.load_state_dict(ours.features.state_dict())
    images = random_images(1, side=64)
    with torch.no_grad():
        largest = theirs(images)
        for place, module in enumerate(theirs):
            if isinstance(module, nn.MaxPool2d):
                theirs[place] = nn.AvgPool2d(2, 2)
        torch.testing.assert_close(ours.features(images), theirs(images))
        assert not torch.allclose(ours.features(images), largest)


def test_dropout_renames_and_resizes_nothing() -> None:
    plain = VGG(depth=13, classes=10, width=0.125)
    dropping = VGG(depth=13, classes=10, width=0.125, head_dropout=0.5, block_dropout=0.1)
    assert shapes(dropping) == shapes(plain)


@pytest.mark.parametrize("where", ["head_dropout", "block_dropout"])
def test_dropout_acts_while_training_and_not_while_evaluating(where: str) -> None:
    plain = trained(VGG(depth=11, classes=10, width=0.125))
    dropping = VGG(depth=11, classes=10, width=0.125, **{where: 0.5})
    dropping.load_state_dict(plain.state_dict())
    images = random_images(8)
    with torch.no_grad():
        assert torch.equal(dropping.eval()(images), plain.eval()(images))
        torch.testing.assert_close(plain.train()(images), plain(images))
        assert not torch.allclose(dropping.train()(images), dropping(images))


def test_block_dropout_drops_whole_channels_of_every_block_and_scales_the_others() -> None:
    p = 0.25
    torch.manual_seed(0)
    plain = VGG(depth=11, classes=10, width=0.5)
    dropping = VGG(depth=11, classes=10, width=0.5, block_dropout=p)
    dropping.load_state_dict(plain.state_dict())
    ends = [place + 1 for place, module in enumerate(plain.features) if isinstance(module, nn.MaxPool2d)]
    assert len(ends) == 5
    outputs = random_images(16)
    for begin, end in zip([0, *[end + 1 for end in ends]], ends, strict=False):
        images = outputs.relu()
        with torch.no_grad():
            outputs = plain.train().features[begin : end + 1](images)
            dropped = dropping.train().features[begin : end + 1](images)
        kept = dropped.flatten(2).any(dim=2)
        alive = outputs.flatten(2).any(dim=2)
        assert not (kept & ~alive).any()
        torch.testing.assert_close(dropped[kept], outputs[kept] / (1 - p))
        channels = int(alive.sum())
        assert abs(int(kept.sum()) - (1 - p) * channels) < 5 * math.sqrt(p * (1 - p) * channels)


def test_kaiming_draws_convolutions_as_torchvision_does() -> None:
    torch.manual_seed(0)
    network = VGG(depth=11, classes=10, init="kaiming")
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions:
        assert convolution.bias is not None
        assert not convolution.bias.any()
        fan_out = convolution.out_channels * 9
        deviation = math.sqrt(2 / fan_out)
        assert float(convolution.weight.detach().std()) == pytest.approx(deviation, rel=0.05)


def test_dirac_hands_inputs_on_and_draws_the_other_filters_as_kaiming_does() -> None:
    networks = []
    for init in ("dirac", "kaiming"):
        torch.manual_seed(0)
        networks.append(
            [m for m in VGG(depth=11, classes=10, width=0.25, init=init).modules() if isinstance(m, nn.Conv2d)]
        )
    for dirac, kaiming in zip(*networks, strict=True):
        images = torch.randn(2, dirac.in_channels, 5, 5)
        same = min(dirac.in_channels, dirac.out_channels)
        torch.testing.assert_close(dirac(images)[:, :same], images[:, :same])
        assert torch.equal(dirac.weight[dirac.in_channels :], kaiming.weight[dirac.in_channels :])
    assert any(module.out_channels > module.in_channels > 3 for module in networks[0])


def test_default_leaves_every_layer_as_torch_draws_it() -> None:
    torch.manual_seed(0)
    first = next(
        m for m in VGG(depth=11, classes=10, width=0.125, init="default").modules() if isinstance(m, nn.Conv2d)
    )
    torch.manual_seed(0)
    expected = nn.Conv2d(3, 8, 3, padding=1)
    assert torch.equal(first.weight, expected.weight)
    assert first.bias is not None
    assert expected.bias is not None
    assert torch.equal(first.bias, expected.bias)


@pytest.mark.parametrize("momentum", [0.1, 0.5, 1.0])
def test_running_statistics_follow_each_batch_by_their_momentum(momentum: float) -> None:
    network = VGG(depth=11, classes=10, width=0.125, bn_momentum=momentum).train()
    images = random_images(4)
    with torch.no_grad():
        outputs = network.features[0](images)
        network(images)
    norm = network.features[1]
    torch.testing.assert_close(norm.running_mean, momentum * outputs.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, 1 - momentum + momentum * outputs.transpose(0, 1).flatten(1).var(1))
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {momentum}


def test_no_block_becomes_so_narrow_that_nothing_is_left() -> None:
    network = VGG(depth=11, classes=10, hidden=[4], width=0.001)
    assert {module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)} == {1}
    assert network(random_images(2)).shape == (2, 10)


@pytest.mark.parametrize("side", [16, 20, 24, 32, 33, 64])
def test_images_of_other_sides_work_as_well(side: int) -> None:
    network = VGG(depth=11, classes=10, hidden=[8], width=0.125).eval()
    assert network(random_images(1, side)).shape == (1, 10)
