"""Muon: orthogonal steps of a given relative length for filters, torch's SGD for everything else."""

import copy
from collections.abc import Callable

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD

from vgg_cifar.choices import CONF
from vgg_cifar.config import Config
from vgg_cifar.muon import POLYNOMIALS, Muon, orthogonal
from vgg_cifar.parts import make_classifier, make_datamodule


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(16, 5))


def give_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def is_filter(parameter: Tensor) -> bool:
    return parameter.ndim == 4


def iterated(values: Tensor, iterations: int) -> Tensor:
    """Where so many iterations bring singular values."""
    for done in range(iterations):
        a, b, c = POLYNOMIALS[min(done, len(POLYNOMIALS) - 1)]
        values = a * values + b * values**3 + c * values**5
    return values


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(max_examples=60)
def test_an_orthogonal_matrix_keeps_the_singular_vectors_and_evens_out_the_values(
    rows: int, columns: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    left, _, right = torch.linalg.svd(torch.randn(rows, columns, generator=generator), full_matrices=False)
    values = torch.linspace(1.0, 0.2, len(left.T))
    found = orthogonal(left * values @ right)
    assert found.dtype == torch.float32
    singular = left.T @ found @ right.T
    assert ((singular.diagonal() > 0.6) & (singular.diagonal() < 1.4)).all()
    assert (singular - singular.diagonal().diag()).abs().max() < 0.1  # bfloat16


@pytest.mark.parametrize("iterations", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("shape", [(1, 12, 40), (3, 40, 12)], ids=["wide", "tall"])
def test_every_singular_value_goes_through_the_polynomial(shape: tuple[int, ...], iterations: int) -> None:
    generator = torch.Generator().manual_seed(iterations)
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = torch.logspace(1, -1, 12)
    expected = iterated(values / (values**4).sum() ** 0.25, iterations)
    found = orthogonal(left * values @ right, iterations)
    torch.testing.assert_close(
        left.mT @ found @ right.mT, torch.diag(expected).expand(shape[0], -1, -1), atol=2e-3, rtol=0
    )


def test_each_polynomial_brings_the_values_that_are_left_as_near_to_one_as_any_can() -> None:
    lowest, highest = 0.01, 1.0
    for (a, b, c), rounding in zip(POLYNOMIALS, (1.01, 1.01, 1.1, 1.03, 1.03), strict=True):
        values = torch.linspace(lowest, highest * rounding, 4001, dtype=torch.float64)
        errors = a * values + b * values**3 + c * values**5 - 1
        crossings = (errors[1:] * errors[:-1] < 0).nonzero().flatten() + 1
        worst = [float(part.abs().max()) for part in errors.tensor_split(crossings)]
        assert len(worst) == 4, "of three coefficients: below, above, below, above"
        assert worst == pytest.approx([max(worst)] * 4, abs=2e-4)
        lowest, highest = 1 - max(worst), 1 + max(worst)


@pytest.mark.parametrize(("iterations", "lowest", "highest"), [(2, 0.28, 1.75), (3, 0.6, 1.35), (4, 0.9, 1.1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_few_iterations_are_enough_for_a_hundredth(
    iterations: int, lowest: float, highest: float, dtype: torch.dtype
) -> None:
    values = torch.diag(torch.tensor([1.0, 0.3, 0.1, 0.03, 0.0107])).to(dtype)
    found = torch.linalg.svdvals(orthogonal(values, iterations).float())
    assert lowest < found.min()
    assert found.max() < highest


@pytest.mark.parametrize("values", [[1.0], [1.0, 0.98, 0.95, 0.9], [1.0, 0.97], [1.0] * 16], ids=str)
@pytest.mark.parametrize("rows", [16, 128])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_rounding_does_not_grow(dtype: torch.dtype, values: list[float], rows: int) -> None:
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        left, _, right = torch.linalg.svd(torch.randn(rows, 4 * rows, generator=generator), full_matrices=False)
        few = torch.tensor(values + [0.05] * (rows - len(values)))
        for iterations, bound in ((2, 2.0), (3, 1.4), (4, 1.1), (9, 1.1), (30, 1.1)):
            found = orthogonal((left * few @ right).to(dtype), iterations)
            assert torch.linalg.svdvals(found.float()).max() < bound


@pytest.mark.parametrize("iterations", [3, 5, 6, 9])
def test_values_lost_in_the_rounding_of_bfloat16_do_no_harm(iterations: int) -> None:
    left, _, right = torch.linalg.svd(
        torch.randn(64, 300, generator=torch.Generator().manual_seed(1)), full_matrices=False
    )
    values = torch.logspace(0, -5, 64)
    found = orthogonal((left * values @ right).bfloat16(), iterations)
    assert found.dtype == torch.bfloat16
    along = (left.T @ found.float() @ right.T).diagonal()
    assert ((along[:13] > 0.6) & (along[:13] < 1.4)).all()  # a tenth of the largest and more
    assert torch.linalg.svdvals(found.float()).max() < 1.4


@pytest.mark.parametrize("factor", [1e-13, 1e-7, 1e7, 1e15])
def test_the_size_of_a_matrix_makes_no_difference(factor: float) -> None:
    matrix = torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonal(factor * matrix), orthogonal(matrix), rtol=1e-4, atol=1e-4)
    assert not orthogonal(0 * matrix).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("rank", [1, 16])
def test_no_size_is_too_small(rank: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(rank)
    matrix = torch.randn(16, rank, generator=generator) @ torch.randn(rank, 144, generator=generator)
    for power in range(-24, 0):
        found = orthogonal((matrix * 10.0**power).to(dtype), 5).float()
        assert torch.linalg.svdvals(found).max() < 1.1


def test_matrices_of_a_stack_know_nothing_of_one_another() -> None:
    matrices = (
        torch.randn(3, 8, 24, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1.0, 1e-3, 1e3])[:, None, None]
    )
    apart = torch.stack([orthogonal(each) for each in matrices])
    torch.testing.assert_close(orthogonal(matrices), apart, rtol=1e-4, atol=1e-4)


def test_filter_banks_of_one_shape_step_as_each_would_alone() -> None:
    torch.manual_seed(0)
    banks = [nn.Parameter(torch.randn(6, 4, 3, 3) * size) for size in (1.0, 100.0)]
    for bank, size in zip(banks, (1e-3, 1e3), strict=True):
        bank.grad = torch.randn_like(bank) * size
    apart = [nn.Parameter(bank.detach().clone()) for bank in banks]
    for bank, other in zip(banks, apart, strict=True):
        other.grad = bank.grad.clone()
        Muon([{"params": [other]}], lr=0.1).step()
    Muon([{"params": banks}], lr=0.1).step()
    for bank, other in zip(banks, apart, strict=True):
        torch.testing.assert_close(bank, other, rtol=0, atol=1e-3 * float(other.detach().norm()))


def test_filters_whose_gradients_end_stay_finite() -> None:
    filters = nn.Parameter(torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(0)))
    optimizer = Muon([{"params": [filters]}], lr=0.01, momentum=0.8)
    for step in range(600):
        filters.grad = torch.randn(filters.shape, generator=torch.Generator().manual_seed(step)) * (
            1e-3 if step < 5 else 0
        )
        optimizer.step()
        assert filters.isfinite().all(), step


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
def test_filters_move_by_the_rate_times_the_norm_they_began_with(fused: bool) -> None:
    model = network()
    began = [float(each.detach().norm()) for each in model.parameters()]
    optimizer = Muon([{"params": model.parameters(), "weight_decay": 0.0}], lr=0.03, fused=fused)
    for seed in range(3):
        before = copy.deepcopy(model)
        give_gradients(model, seed)
        optimizer.step()
        for new, old, norm in zip(model.parameters(), before.parameters(), began, strict=True):
            if is_filter(new):
                moved = new - old * (norm / old.norm())
                assert float(moved.detach().norm()) == pytest.approx(0.03 * norm, rel=1e-4)


def test_a_step_makes_filters_longer_and_the_next_begins_with_the_norm_of_the_first() -> None:
    model = network()
    began = {each: float(each.detach().norm()) for each in model.parameters() if is_filter(each)}
    before = copy.deepcopy(model)
    optimizer = Muon([{"params": model.parameters()}], lr=0.1)
    for seed in range(100):
        give_gradients(model, seed // 10)  # the same direction for a while
        optimizer.step()
        for filters, norm in began.items():
            assert norm * 0.9 <= float(filters.detach().norm()) <= norm * 1.1001
    for new, old in zip(model.parameters(), before.parameters(), strict=True):
        if is_filter(new):
            turned = nn.functional.cosine_similarity(new.detach().flatten(), old.detach().flatten(), dim=0)
            assert float(turned) < 0.9, "has not moved"


def test_the_gradients_of_filters_become_the_mean_that_is_followed() -> None:
    model = network()
    optimizer = Muon([{"params": model.parameters()}], lr=0.1, momentum=0.75)
    give_gradients(model, 0)
    before = [each.grad.clone() for each in model.parameters()]
    optimizer.step()
    for each, gradient in zip(model.parameters(), before, strict=True):
        share = 0.25 + 0.75 * 0.25 if is_filter(each) else 1  # Nesterov's, of the mean's first
        torch.testing.assert_close(each.grad, share * gradient)


def test_filters_do_not_decay_and_the_rest_does() -> None:
    plain, decayed = network(), network()
    for model, decay in ((plain, 0.0), (decayed, 0.5)):
        optimizer = Muon([{"params": model.parameters(), "weight_decay": decay}], lr=0.1)
        for seed in range(3):
            give_gradients(model, seed)
            optimizer.step()
    same = [torch.equal(a, b) for a, b in zip(plain.parameters(), decayed.parameters(), strict=True)]
    assert same == [is_filter(each) for each in plain.parameters()]


def test_filters_whose_first_gradient_comes_later_keep_the_norm_of_the_first_step() -> None:
    model = network()
    optimizer = Muon([{"params": model.parameters()}], lr=0.1)
    give_gradients(model, 0)
    model[0].weight.grad = None
    optimizer.step()
    assert set(optimizer.state[model[0].weight]) == {"mean", "norm"}, "a step that is recorded later makes no state"
    began = float(model[0].weight.detach().norm())
    for seed in range(1, 20):
        give_gradients(model, seed)
        optimizer.step()
    assert float(model[0].weight.detach().norm()) == pytest.approx(began, rel=0.1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["plain", "channels_last"])
@pytest.mark.parametrize("of_gradient", [torch.contiguous_format, torch.channels_last], ids=["plain", "channels_last"])
def test_the_first_step_of_a_filter_goes_against_its_gradient_made_orthogonal(
    layout: torch.memory_format, of_gradient: torch.memory_format
) -> None:
    model = network().to(memory_format=layout)
    filters = model[0].weight
    optimizer = Muon([{"params": model.parameters()}], lr=0.1, iterations=5)
    give_gradients(model, 1)
    filters.grad = filters.grad.contiguous(memory_format=of_gradient)
    gradient, before = filters.grad.clone(), filters.detach().clone()
    optimizer.step()
    moved = (before - filters.detach()).flatten(1)
    expected = orthogonal(gradient.flatten(1), 5)
    assert float(nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), dim=0)) > 0.99


def test_without_a_gradient_and_without_weights_filters_stay() -> None:
    model = network()
    nn.init.zeros_(model[0].weight)
    before = copy.deepcopy(model)
    optimizer = Muon([{"params": model.parameters(), "weight_decay": 0.0}], lr=0.1)
    for _ in range(3):
        give_gradients(model, 0)
        model[2].weight.grad = torch.zeros_like(model[2].weight)
        optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True)]
    assert moved == [not is_filter(each) for each in model.parameters()]


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
def test_everything_else_moves_as_by_torchs_sgd(fused: bool) -> None:
    ours = network()
    theirs = copy.deepcopy(ours)
    decayed = [{"params": [p for p in ours.parameters() if p.ndim > 1], "weight_decay": 0.1},
               {"params": [p for p in ours.parameters() if p.ndim == 1], "weight_decay": 0.0}]  # fmt: skip
    optimizer = Muon(decayed, lr=0.05, others=4.0, others_momentum=0.8, fused=fused)
    reference = SGD(
        [{"params": [p for p in theirs.parameters() if p.ndim == 2], "weight_decay": 0.1},
         {"params": [p for p in theirs.parameters() if p.ndim == 1]}],
        lr=0.2, momentum=0.8, nesterov=True,
    )  # fmt: skip
    for seed in range(4):
        for model in (ours, theirs):
            give_gradients(model, seed)
        optimizer.step()
        reference.step()
    pairs = [(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True) if not is_filter(a)]
    assert len(pairs) == 6
    for our, their in pairs:
        torch.testing.assert_close(our, their, rtol=1e-6, atol=1e-6)


def test_the_step_after_loading_a_state_is_the_step_that_was_next() -> None:
    one = network()
    first = Muon([{"params": one.parameters()}], lr=0.1)
    for seed in (2, 0):
        give_gradients(one, seed)
        first.step()
    two = copy.deepcopy(one)
    second = Muon([{"params": two.parameters()}], lr=0.1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for model, optimizer in ((one, first), (two, second)):
        give_gradients(model, 1)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_a_state_from_before_norms_were_kept_goes_on_with_those_of_now() -> None:
    model = network()
    old = Muon([{"params": model.parameters()}], lr=0.1)
    give_gradients(model, 0)
    old.step()
    content = old.state_dict()
    for state in content["state"].values():
        state.pop("norm", None)
    new = Muon([{"params": model.parameters()}], lr=0.1)
    new.load_state_dict(content)
    began = float(model[0].weight.detach().norm())
    for seed in range(1, 50):
        give_gradients(model, seed)
        new.step()
    assert float(model[0].weight.detach().norm()) == pytest.approx(began, rel=0.1)


def test_the_shipped_choice_sets_what_it_names(configure: Callable[..., Config]) -> None:
    shipped = yaml.safe_load((CONF / "optimizer" / "muon.yaml").read_text())
    config = configure("optimizer=muon")
    classifier = make_classifier(config, make_datamodule(config))
    groups = config.optimizer.build(config.weight_decay.groups(classifier.network), fused=True).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(classifier.network.parameters()))
    for group in groups:
        if group["filter_momentum"] is None:
            assert group["lr"] == shipped["lr"] * shipped["others"]
            assert group["momentum"] == shipped["others_momentum"]
        else:
            assert group["lr"] == shipped["lr"]
            assert group["filter_momentum"] == shipped["momentum"]
    assert groups[0]["filter_momentum"] is not None  # the rate that charts show


@pytest.mark.parametrize("decay", ["none", "standard", "everywhere"])
def test_biases_and_batch_norm_have_a_multiple_of_what_everything_else_has(
    configure: Callable[..., Config], decay: str
) -> None:
    config = configure(
        "optimizer=muon",
        "optimizer.lr=0.5",
        "optimizer.others=4",
        "optimizer.bias_scale=8",
        f"weight_decay={decay}",
    )
    model = network()
    optimizer = config.optimizer.build(config.weight_decay.groups(model), fused=True)
    rates = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert [rates[parameter] for parameter in model.parameters()] == [
        {4: 0.5, 2: 2.0, 1: 16.0}[parameter.ndim] for parameter in model.parameters()
    ]
    assert optimizer.param_groups[0]["lr"] == 0.5  # the rate that charts show
    decays = {parameter: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}
    chosen = {p: group["weight_decay"] for group in config.weight_decay.groups(model) for p in group["params"]}
    assert decays == {p: 0.0 if is_filter(p) else decay for p, decay in chosen.items()}


@pytest.mark.parametrize("decay", ["none", "standard", "everywhere"])
def test_with_the_same_rate_for_all_a_state_has_the_groups_it_always_had(
    configure: Callable[..., Config], decay: str
) -> None:
    config = configure("optimizer=muon", f"weight_decay={decay}")
    groups = config.weight_decay.groups(network())
    shipped = yaml.safe_load((CONF / "optimizer" / "muon.yaml").read_text())
    plain = {key: value for key, value in shipped.items() if key not in ("name", "bias_scale")}
    assert config.optimizer.build(groups, fused=True).state_dict() == Muon(groups, **plain, fused=True).state_dict()
