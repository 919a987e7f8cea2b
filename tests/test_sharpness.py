"""Sharpness-aware steps: the gradient is that from uphill, everything else as after one pass."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from vgg_cifar import hardware
from vgg_cifar.errors import UserError
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.sharpness import ASAM, SAM
from vgg_cifar.sharpness_aware import Ascent

CURVATURE = torch.tensor([1.0, 4.0], dtype=torch.float64)
SHARP = [SAM(name="sam", rho=0.5), ASAM(name="asam", rho=0.5, eta=0.25)]


class Bowl(nn.Module):
    """Two weights and a bias, whose loss is half of a weighted sum of squares."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0, -1.0], dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self) -> Tensor:
        return ((self.weight.square() * CURVATURE).sum() + self.bias.square().sum()) / 2


@pytest.mark.parametrize(
    ("options", "uphill"),
    [
        # The gradient is (3, -4, 2), its norm the root of 29.
        (SHARP[0], [3 + 1.5 / 29**0.5, -1 - 2 / 29**0.5, 2 + 1 / 29**0.5]),
        # T is (3.25, 1.25, 1), T g is (9.75, -5, 2), T² g is (31.6875, -6.25, 2).
        (SHARP[1], [3 + 15.84375 / 124.0625**0.5, -1 - 3.125 / 124.0625**0.5, 2 + 1 / 124.0625**0.5]),
    ],
    ids=["sam", "asam"],
)
def test_a_step_follows_the_gradient_from_uphill(options: SAM | ASAM, uphill: list[float]) -> None:
    bowl = Bowl()
    optimizer = torch.optim.SGD(bowl.parameters(), lr=0.1)
    starts: list[list[float]] = []

    def closure() -> Tensor:
        starts.append([*bowl.weight.tolist(), *bowl.bias.tolist()])
        optimizer.zero_grad()
        loss = bowl()
        loss.backward()
        return loss.detach()

    ascent = options.build(bowl)
    loss = optimizer.step(lambda: ascent(closure))  # type: ignore[arg-type]
    assert loss == (9 + 4 + 4) / 2
    assert starts[0] == [3, -1, 2]
    assert starts[1] == pytest.approx(uphill, rel=1e-12)
    expected = [3 - 0.1 * uphill[0], -1 - 0.4 * uphill[1], 2 - 0.1 * uphill[2]]
    assert [*bowl.weight.tolist(), *bowl.bias.tolist()] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("options", SHARP, ids=["sam", "asam"])
def test_where_the_ground_is_flat_nothing_moves(options: SAM | ASAM) -> None:
    flat = nn.Linear(3, 2)

    def closure() -> Tensor:
        flat.zero_grad()
        loss = flat(torch.ones(4, 3)).sum() * 0
        loss.backward()
        return loss.detach()  # type: ignore[no-any-return]

    before = [each.detach().clone() for each in flat.parameters()]
    assert options.build(flat)(closure) == 0
    assert all(torch.equal(each, kept) for each, kept in zip(flat.parameters(), before, strict=True))


@pytest.mark.parametrize("options", SHARP, ids=["sam", "asam"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_but_the_gradients_is_as_after_one_pass(options: SAM | ASAM, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2)).to(dtype)
    images = torch.randn(5, 3, 8, 8, dtype=dtype)
    losses: list[Tensor] = []

    def closure() -> Tensor:
        network.zero_grad()
        loss = network(images).square().mean()
        loss.backward()
        losses.append(loss.detach().clone())
        return loss.detach()  # type: ignore[no-any-return]

    start = {name: value.clone() for name, value in network.state_dict().items()}
    closure()
    once = {name: value.clone() for name, value in network.state_dict().items()}
    plain = [each.grad.clone() for each in network.parameters() if each.grad is not None]
    network.load_state_dict(start)
    ascent = options.build(network)
    assert ascent(closure) == losses[0] == losses[1] < losses[2]
    assert all(torch.equal(value, once[name]) for name, value in network.state_dict().items())
    assert once["1.num_batches_tracked"] == 1
    others = [each.grad for each in network.parameters()]
    assert not all(torch.equal(one, other) for one, other in zip(plain, others, strict=True))  # type: ignore[arg-type]
    assert not ascent.uphill


@pytest.mark.parametrize("options", SHARP, ids=["sam", "asam"])
def test_nothing_is_read_back_from_the_device(options: SAM | ASAM) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to("meta")  # which has no values to read

    def closure() -> Tensor:
        network.zero_grad()
        loss = network(torch.empty(2, 3, 8, 8, device="meta")).square().mean()
        loss.backward()
        return loss.detach()  # type: ignore[no-any-return]

    with pytest.raises(RuntimeError, match="meta"):
        float(closure())
    assert options.build(network)(closure).is_meta


class Passes(Callback):
    """Keeps the loss that Lightning was told of each step, and how often the network ran for it."""

    def __init__(self) -> None:
        self.runs = 0
        self.losses: list[float] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        pl_module.network.register_forward_hook(self._ran)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))

    def _ran(self, network: nn.Module, *_: Any) -> None:
        self.runs += network.training


def fitted(configure: Callable[..., Any], *words: str) -> tuple[Any, Passes]:
    """The classifier after the epochs of a tiny run, and its passes."""
    config = configure("data.val_fraction=0", "dropout=none", *words)
    datamodule = make_datamodule(config)
    classifier, passes = make_classifier(config, datamodule), Passes()
    trainer, _ = make_trainer(config, [passes], [])
    trainer.fit(classifier, datamodule)
    return classifier, passes


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_step_runs_the_network_twice_but_counts_it_once(configure: Callable[..., Any], precision: str) -> None:
    one_step = (
        f"trainer.precision={precision}",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=1",
        "data.batch_size=50",
    )
    plain, once = fitted(configure, *one_step)
    sharp, twice = fitted(configure, *one_step, "sharpness=sam", "sharpness.rho=0.5")
    assert (once.runs, twice.runs) == (1, 2)
    assert twice.losses == once.losses
    assert sharp.results == plain.results  # of the images before the first step
    statistics, theirs = dict(plain.network.named_buffers()), dict(sharp.network.named_buffers())
    assert all(torch.equal(theirs[name], value) for name, value in statistics.items())
    assert not torch.equal(sharp.network.features[0].weight, plain.network.features[0].weight)


def test_a_row_is_logged_once(train: Callable[..., RunFolder]) -> None:
    words = ("trainer.log_every_n_steps=1", "trainer.max_epochs=1")
    plain, sharp = train(*words, to="plain"), train(*words, "sharpness=asam", to="sharp")
    told = [[(row["step"], sorted(row)) for row in folder.read_metrics()] for folder in (plain, sharp)]
    assert told[0] == told[1]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
@pytest.mark.parametrize("sharpness", ["sam", "asam"])
def test_a_short_way_uphill_comes_near_the_plain_step(
    configure: Callable[..., Any], optimizer: str, sharpness: str
) -> None:
    words = (f"optimizer={optimizer}", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "model.init=default")
    plain, _ = fitted(configure, *words)
    small, _ = fitted(configure, *words, f"sharpness={sharpness}", "sharpness.rho=1e-9")
    large, _ = fitted(configure, *words, f"sharpness={sharpness}")

    def apart(one: Any, other: Any) -> float:
        vectors = [torch.cat([p.detach().flatten() for p in each.network.parameters()]) for each in (one, other)]
        return float((vectors[0] - vectors[1]).norm())

    assert apart(plain, small) < 0.1 * apart(plain, large)  # Muon rounds a few channels to bfloat16


@pytest.mark.parametrize("sharpness", ["sam", "asam"])
def test_a_resumed_run_equals_one_that_was_never_interrupted(train: Callable[..., RunFolder], sharpness: str) -> None:
    words = (f"sharpness={sharpness}", "dropout=all", "averaging=ema", "schedule=constant")
    whole = train(*words, to="whole")
    train(*words, "trainer.max_epochs=1", to="parts")
    parts = train(*words, f"resume={whole.path.with_name('parts')}", to="parts")
    for key in ("state_dict", "trained_state_dict"):
        one, other = (checkpoints.read(folder.checkpoint("last"))[key] for folder in (whole, parts))
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_none_is_no_second_pass(configure: Callable[..., Any]) -> None:
    assert configure().sharpness.build(nn.Linear(1, 1)) is None
    assert isinstance(configure("sharpness=asam").sharpness.build(nn.Linear(1, 1)), Ascent)


def test_a_gpu_without_bfloat16_is_refused(configure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "accelerator", lambda asked: "cuda")
    monkeypatch.setattr(hardware, "precision", lambda kind: ("16-mixed", "multiplies float16"))
    config = configure("sharpness=sam", "trainer.precision=auto", "trainer.accelerator=auto")
    with pytest.raises(UserError, match=r"trainer\.precision: auto is 16-mixed .* set trainer\.precision=32-true or"):
        make_trainer(config, [], [])
