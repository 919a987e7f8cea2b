"""What `auto` is replaced by, and that a run goes on with what it found."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vgg_cifar.classifier import Classifier
from vgg_cifar.command_line import prepare
from vgg_cifar.composition import compose_and_check
from vgg_cifar.data.loader import Batch
from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.tuning import RangeTest, find_batch_size


def rates(**of: float) -> Callable[[int], float]:
    """Images per second by batch size; where none is given there is no memory."""

    def rate(size: int) -> float:
        if f"b{size}" not in of:
            raise torch.OutOfMemoryError
        return of[f"b{size}"]

    return rate


@pytest.mark.parametrize(
    ("rate", "images", "size"),
    [
        (rates(b16=100, b32=150, b64=200, b128=205, b256=400), 10_000, 64),
        (rates(b16=100, b32=150, b64=200), 10_000, 64),
        (rates(b16=100, b32=90, b64=500), 10_000, 16),
        (rates(b16=100, b32=200, b64=400, b128=800), 60, 32),
        (rates(b16=100, b32=200), 5, 16),
    ],
    ids=["no longer faster", "no more memory", "slower", "no more images", "hardly any images"],
)
def test_the_batch_is_doubled_while_it_pays_and_fits(rate: Callable[[int], float], images: int, size: int) -> None:
    assert find_batch_size(rate, 1, images) == size


def test_where_not_even_the_smallest_batch_fits_the_reason_is_memory() -> None:
    with pytest.raises(UserError, match="not even 16 images fit into memory"):
        find_batch_size(rates(), 1, 10_000)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")]
)
def test_memory_may_run_out_on_a_cpu_too(error: Exception) -> None:
    def rate(size: int) -> float:
        if size > 32:
            raise error
        return size

    assert find_batch_size(rate, 1, 10_000) == 32


def test_what_is_wrong_with_a_batch_beside_memory_is_said() -> None:
    def rate(size: int) -> float:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        find_batch_size(rate, 1, 10_000)


def test_no_batch_is_smaller_than_its_parts() -> None:
    assert find_batch_size(rates(b64=100), 50, 10_000) == 64


def test_the_rate_is_a_tenth_of_the_highest_at_which_the_loss_was_lowest() -> None:
    test = RangeTest()
    test.rates = [10.0 ** (step / 10 - 4) for step in range(50)]
    test.losses = [4.6] * 20 + [4.0] * 10 + [2.0] * 5 + [2.05] + [4.5] * 14
    assert test.suggestion() == pytest.approx(test.rates[35] / 10, rel=0.05)


@pytest.mark.parametrize("losses", [[4.6 + 0.01 * (step % 3) for step in range(30)], []], ids=["flat", "none finite"])
def test_where_no_rate_lowers_the_loss_none_is_suggested(losses: list[float]) -> None:
    test = RangeTest()
    test.rates = [10.0 ** (step / 10 - 4) for step in range(30)]
    test.losses = losses
    with pytest.raises(UserError, match=r"optimizer\.lr: auto found no rate"):
        test.suggestion()


EASY = [
    "dropout=none",
    "augmentation=none",
    "data.train_size=200",
    "model.width=0.25",
    "optimizer=adam",
    "averaging=none",
]


def test_a_run_finds_what_is_auto_writes_it_down_and_goes_on_with_it(
    train: Callable[..., RunFolder], tmp_path: Path
) -> None:
    folder = train(*EASY, "optimizer.lr=auto", "data.batch_size=auto", "trainer.max_epochs=1")
    config, found = folder.read_config(), folder.read_manifest()["tuned"]
    assert found == {"data.batch_size": config["data"]["batch_size"], "optimizer.lr": config["optimizer"]["lr"]}
    assert config["data"]["batch_size"] in (16, 32, 64, 128)
    assert 1e-6 < config["optimizer"]["lr"] <= 1
    for typed in ([], ["optimizer.lr=auto"]):
        overrides = prepare([f"resume={folder.path}", "trainer.max_epochs=2", *typed])
        assert overrides is not None
        again = compose_and_check(overrides).config
        assert (again.data.batch_size, again.optimizer.lr) == (found["data.batch_size"], found["optimizer.lr"])
    with pytest.raises(UserError, match=r"optimizer\.lr: .* -> 0\.123"):
        prepare([f"resume={folder.path}", "trainer.max_epochs=2", "optimizer.lr=0.123"])


def test_a_loss_that_is_no_number_ends_the_search_for_a_rate_and_not_the_run(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Classifier._learn

    def learn(self: Classifier, batch: Batch) -> torch.Tensor:
        too_high = self.trainer.optimizers[0].param_groups[0]["lr"] > 0.03
        return original(self, batch) * (float("nan") if too_high else 1.0)

    monkeypatch.setattr(Classifier, "_learn", learn)
    folder = train(*EASY, "optimizer.lr=auto", "trainer.max_epochs=1", "trainer.log_every_n_steps=1")
    assert 1e-6 < folder.read_manifest()["tuned"]["optimizer.lr"] < 0.1


def test_looking_for_a_rate_leaves_no_trace_in_the_run(train: Callable[..., RunFolder]) -> None:
    found = train(*EASY, "optimizer.lr=auto", "trainer.max_epochs=1", to="found")
    lr = found.read_config()["optimizer"]["lr"]
    given = train(*EASY, f"optimizer.lr={lr}", "trainer.max_epochs=1", to="given")
    for name in ("train/loss", "val/loss", "test/loss", "test_reads", "steps"):
        assert found.read_result()[name] == given.read_result()[name]
