"""Every draw is a function of seed, epoch, image and purpose, and spread evenly over what it may be."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vgg_cifar import draws

COUNT = 20_000
IMAGES = torch.arange(COUNT)
PARTS = [(0, 0, "flip"), (1, 0, "flip"), (0, 199, "left"), (2**62, 7, "rotate")]
KINDS: dict[str, Callable[..., Tensor]] = {
    "bits": draws.bits,
    "uniform": draws.uniform,
    "coin": draws.coin,
    "beta": lambda indices, *parts: draws.beta(indices, 0.3, *parts),
    "integers": lambda indices, *parts: draws.integers(indices, 9, *parts),
}

places = st.integers(0, 2**32 - 1)
keys = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 10_000), st.sampled_from(["flip", "left", "order"]))


def is_even(counts: Tensor) -> bool:
    """Whether throws into equal bins fell evenly: chi-square within six deviations of what chance gives."""
    expected = counts.sum() / counts.numel()
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    freedom = counts.numel() - 1
    return abs(chi_square - freedom) < 6 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("kind", KINDS)
@given(indices=st.lists(places, min_size=1, max_size=20), parts=keys)
@settings(max_examples=50)
def test_a_draw_does_not_depend_on_the_batch_the_image_is_in(
    kind: str, indices: list[int], parts: tuple[int, int, str]
) -> None:
    together = KINDS[kind](torch.tensor(indices), *parts)
    backwards = KINDS[kind](torch.tensor(indices[::-1]), *parts)
    alone = torch.cat([KINDS[kind](torch.tensor([index]), *parts) for index in indices])
    assert torch.equal(together, alone)
    assert torch.equal(together, backwards.flip(0))


@given(indices=st.lists(places, min_size=1, max_size=20), parts=keys)
@settings(max_examples=100)
def test_bits_are_the_published_hash_with_two_keys(indices: list[int], parts: tuple[int, int, str]) -> None:
    def lowbias32(x: int) -> int:
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ x >> 16

    high, low = divmod(draws.key(*parts), 2**32)
    expected = [lowbias32(lowbias32(index ^ low) ^ high) for index in indices]
    assert draws.bits(torch.tensor(indices), *parts).tolist() == expected


@given(indices=st.lists(places, min_size=1, max_size=20), parts=keys, count=st.integers(1, 2**20))
@settings(max_examples=100)
def test_every_draw_stays_in_its_range(indices: list[int], parts: tuple[int, int, str], count: int) -> None:
    images = torch.tensor(indices)
    assert all(0 <= value < 2**32 for value in draws.bits(images, *parts).tolist())
    assert all(0 <= value < 1 for value in draws.uniform(images, *parts).tolist())
    assert all(0 <= value < count for value in draws.integers(images, count, *parts).tolist())
    assert 0 <= draws.key(*parts) < 2**63


@pytest.mark.parametrize("parts", PARTS)
def test_uniform_draws_are_spread_evenly(parts: tuple[int, int, str]) -> None:
    values = draws.uniform(IMAGES, *parts)
    assert values.dtype == torch.float32
    assert is_even(torch.histc(values, bins=64, min=0, max=1))


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("count", [2, 9, 100])
def test_integers_take_every_value_equally_often(count: int, parts: tuple[int, int, str]) -> None:
    assert is_even(torch.bincount(draws.integers(IMAGES, count, *parts), minlength=count).float())


@pytest.mark.parametrize("parts", PARTS)
def test_a_coin_is_fair(parts: tuple[int, int, str]) -> None:
    coins = draws.coin(IMAGES, *parts)
    assert coins.dtype == torch.bool
    assert abs(int(coins.sum()) - COUNT / 2) < 5 * math.sqrt(COUNT) / 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, 0, "top"), (0, 0, "left")),
        ((0, 0, "top"), (0, 1, "top")),
        ((0, 0, "top"), (1, 0, "top")),
        ((3, 5, "flip"), (5, 3, "flip")),
    ],
    ids=["purposes", "epochs", "seeds", "seed and epoch exchanged"],
)
def test_draws_of_different_origin_know_nothing_of_each_other(
    one: tuple[int, int, str], other: tuple[int, int, str]
) -> None:
    cells = draws.integers(IMAGES, 8, *one) * 8 + draws.integers(IMAGES, 8, *other)
    assert is_even(torch.bincount(cells, minlength=64).float())


@pytest.mark.parametrize("distance", [1, 2, 100])
def test_neighbouring_images_know_nothing_of_each_other(distance: int) -> None:
    cells = draws.integers(IMAGES, 8, 0, 0, "top") * 8 + draws.integers(IMAGES + distance, 8, 0, 0, "top")
    assert is_even(torch.bincount(cells, minlength=64).float())


@given(parts=keys, other=keys)
@settings(max_examples=100)
def test_keys_are_equal_only_for_equal_parts(parts: tuple[int, int, str], other: tuple[int, int, str]) -> None:
    assert (draws.key(*parts) == draws.key(*other)) == (parts == other)
    assert draws.key(12, 3) != draws.key(1, 23)


@given(count=st.integers(0, 300), parts=keys)
@settings(max_examples=50)
def test_an_order_holds_every_image_once_and_can_be_drawn_again(count: int, parts: tuple[int, int, str]) -> None:
    order = draws.order(count, *parts)
    assert sorted(order.tolist()) == list(range(count))
    assert torch.equal(order, draws.order(count, *parts))


def test_orders_differ_by_epoch_and_by_seed() -> None:
    orders = [draws.order(100, seed, epoch, "order").tolist() for seed in range(5) for epoch in range(5)]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_an_image_comes_equally_often_at_every_place() -> None:
    first = torch.stack([draws.order(8, 0, epoch, "order") for epoch in range(2000)])[:, 0]
    assert is_even(torch.bincount(first, minlength=8).float())


def test_draws_neither_heed_nor_move_the_global_generator() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    values = [draws.uniform(IMAGES[:9], 0, 0, "top"), draws.order(9, 0, 0, "order")]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(draws.uniform(IMAGES[:9], 0, 0, "top"), values[0])
    assert torch.equal(draws.order(9, 0, 0, "order"), values[1])


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 2.0, 8.0, 30.0])
def test_beta_is_distributed_as_numpys(alpha: float) -> None:
    ours = np.sort(draws.beta(IMAGES, alpha, 0, 0, "mix share").double().numpy())
    theirs = np.sort(np.random.default_rng(0).beta(alpha, alpha, 10 * COUNT))
    assert ours.min() >= 0
    assert ours.max() <= 1
    grid = np.linspace(0.001, 0.999, 999)  # beyond, float32 has no more numbers below 1
    distance = np.abs(np.searchsorted(ours, grid) / len(ours) - np.searchsorted(theirs, grid) / len(theirs)).max()
    assert distance < 1.95 * math.sqrt(1 / len(ours) + 1 / len(theirs))  # Kolmogorov-Smirnov, one in a thousand


@pytest.mark.parametrize("alpha", [0.05, 1.0, 16.0, 32.0])
def test_beta_is_a_share_for_the_rarest_draws_as_well(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rare = torch.tensor([0.0, 2.0**-24, 0.5, 1 - 2.0**-24])
    monkeypatch.setattr(draws, "uniform", lambda *_: rare)
    shares = draws.beta(torch.arange(4), alpha, 0)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert float(shares[2]) == pytest.approx(0.5, abs=1e-3)
