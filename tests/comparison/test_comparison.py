"""Numbers of hand-made runs, beside the same numbers by scipy."""

from pathlib import Path
from statistics import fmean

import pytest
import scipy.stats
from hand_made import make_run

from vgg_cifar.comparison import Comparison, compare
from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import RunFolder

SCORES = {
    ("sgd", "standard"): [0.50, 0.53, 0.51],
    ("sgd", "none"): [0.44, 0.45, 0.46],
    ("adam", "standard"): [0.55, 0.54, 0.57],
    ("adam", "none"): [0.46, 0.49, 0.45],
}
"""Test top-1 by choice, for seeds 0, 1, 2; val/top1 is taken to be the other way round."""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("grid")
    for (optimizer, augmentation), scores in SCORES.items():
        for seed, value in enumerate(scores):
            make_run(
                root / f"{optimizer} {augmentation} {seed}",
                f"optimizer={optimizer}",
                f"augmentation={augmentation}",
                seed=seed,
                test_top1=value,
                val_top1=1 - value,
                train_seconds=10.0 * (seed + 1),
            )
    return root


def labels(found: Comparison) -> dict[str, int]:
    return {group.label: group.number for group in found.groups}


def test_groups_are_equal_but_for_the_seed_and_lie_in_order_of_validation(grid: Path) -> None:
    found = compare([grid])
    assert found.keys == ["optimizer.name", "augmentation.name"], "what follows from a choice goes without saying"
    expected = sorted(SCORES, key=lambda choice: fmean(SCORES[choice]))
    assert [tuple(group.options.values()) for group in found.groups] == expected
    for group in found.groups:
        scores = SCORES[group.options["optimizer.name"], group.options["augmentation.name"]]
        mean, low, high = fmean(scores), *scipy.stats.t.interval(0.95, 2, fmean(scores), scipy.stats.sem(scores))
        assert group.scores["test/top1"].mean == pytest.approx(mean)
        assert group.scores["test/top1"].interval == pytest.approx((low, high))
        assert group.costs["train_seconds"].mean == pytest.approx(20)


def test_differences_are_paired_by_seed_against_the_defaults_and_adjusted(grid: Path) -> None:
    found = compare([grid])
    assert found.base is not None
    assert found.base.label == "optimizer=sgd, augmentation=standard"
    raw = {}
    for group in found.groups:
        scores = SCORES[group.options["optimizer.name"], group.options["augmentation.name"]]
        if group is found.base:
            assert group.difference is None
            continue
        expected = scipy.stats.ttest_rel(scores, SCORES["sgd", "standard"])
        assert group.difference is not None
        assert group.difference.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
        assert group.difference.n == 3
        raw[group.number] = expected.pvalue
    first, second, third = sorted(raw.values())
    adjusted = {first: 3 * first, second: max(3 * first, 2 * second), third: max(3 * first, 2 * second, third)}
    for group in found.groups:
        if group is not found.base:
            assert group.p == pytest.approx(min(1, adjusted[raw[group.number]]))


def test_the_effect_of_an_option_is_the_mean_of_pairs_that_differ_in_it_alone(grid: Path) -> None:
    adam, plain = compare([grid]).effects
    for effect, pairs in (
        (adam, [(("adam", other), ("sgd", other)) for other in ("standard", "none")]),
        (plain, [((other, "none"), (other, "standard")) for other in ("sgd", "adam")]),
    ):
        by_seed = [fmean(SCORES[after][seed] - SCORES[before][seed] for after, before in pairs) for seed in range(3)]
        expected = scipy.stats.ttest_1samp(by_seed, 0)
        assert effect.change.mean == pytest.approx(fmean(by_seed))
        assert effect.change.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
        assert (effect.pairs, effect.settings) == (6, 2)
    assert (adam.label, plain.label) == ("optimizer: sgd → adam", "augmentation: standard → none")


@pytest.mark.parametrize(
    ("asked", "label"),
    [
        ("optimizer=adam,augmentation=none", "optimizer=adam, augmentation=none"),
        ("optimizer.name=adam, augmentation=standard", "optimizer=adam, augmentation=standard"),
        ("1", "optimizer=adam, augmentation=none"),
    ],
)
def test_a_baseline_can_be_asked_for(grid: Path, asked: str, label: str) -> None:
    found = compare([grid], asked)
    assert found.base is not None
    assert found.base.label == label


@pytest.mark.parametrize("asked", ["optimizer=adam", "optimizer=muon", "0", "99", "", "sgd"])
def test_a_baseline_that_is_not_one_group_is_refused(grid: Path, asked: str) -> None:
    with pytest.raises(UserError, match=r"^baseline: .* fits (no group|2 groups); \d: optimizer="):
        compare([grid], asked)


def test_another_metric_is_compared_by_and_an_unknown_one_refused(grid: Path) -> None:
    found = compare([grid], metric="test/loss")
    assert found.metrics == ["val/top1", "test/top1", "test/loss"]
    assert all(group.scores["test/loss"].half is None for group in found.groups), "all are the same"
    with pytest.raises(UserError, match="did you mean test/top1"):
        compare([grid], metric="test/top2")


def test_without_held_out_images_the_order_is_by_the_metric(tmp_path: Path) -> None:
    for number, (smoothing, loss) in enumerate(((0.0, 2.0), (0.1, 1.0))):
        make_run(tmp_path / str(number), f"label_smoothing={smoothing}", test_top1=0.5, **{"test/loss": loss})
    found = compare([tmp_path], metric="test/loss")
    assert found.order == "test/loss"
    assert [group.number for group in found.groups] == [2, 1], "less is better"


def test_an_option_within_one_choice_is_told_and_one_that_another_choice_lacks_is_absent(tmp_path: Path) -> None:
    for number, typed in enumerate((["optimizer.lr=0.2", "tags=[a]"], ["optimizer.lr=0.1"], ["optimizer=adam"])):
        make_run(tmp_path / str(number), *typed, test_top1=0.5)
    make_run(tmp_path / "3", "optimizer.momentum=0.8", "name=other", "trainer.log_every_n_steps=7", test_top1=0.5)
    found = compare([tmp_path])
    assert found.keys == ["optimizer.name", "optimizer.lr", "optimizer.momentum"]
    assert "optimizer=adam, optimizer.lr=0.001, optimizer.momentum=-" in labels(found)


def test_a_seed_that_comes_again_counts_once(tmp_path: Path) -> None:
    for number, (seed, value) in enumerate(((0, 0.5), (1, 0.6), (0, 0.9))):
        make_run(tmp_path / str(number), seed=seed, test_top1=value)
    found = compare([tmp_path])
    (group,) = found.groups
    assert group.scores["test/top1"].values == (0.5, 0.6)
    assert any("repeats a seed" in note for note in found.notes)


def test_few_runs_say_little_and_that_is_told(tmp_path: Path) -> None:
    make_run(tmp_path / "0", test_top1=0.5)
    make_run(tmp_path / "1", "optimizer=adam", test_top1=0.6)
    make_run(tmp_path / "2", "optimizer=muon", seed=4, test_top1=0.6)
    found = compare([tmp_path])
    by_label = {group.label: group for group in found.groups}
    one, none = by_label["optimizer=adam"], by_label["optimizer=muon"]
    assert one.difference is not None
    assert (one.difference.n, one.difference.mean, one.difference.half, one.p) == (1, pytest.approx(0.1), None, None)
    assert none.difference is None, "no seed in common"
    assert any("single seed" in note for note in found.notes)


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("code", {"git": {"commit": "f" * 40, "dirty": False}}),
        ("packages", {"packages": {"python": "3.11.7", "torch": "2.16.0"}}),
        ("hardware", {"hardware": {"cpu": "a CPU", "threads": 2, "precision": "bf16-mixed"}}),
        ("data", {"data": {"synthetic": "seed 1"}}),
    ],
)
def test_what_runs_were_made_of_is_never_mixed_silently(tmp_path: Path, kind: str, changed: dict[str, object]) -> None:
    make_run(tmp_path / "0", test_top1=0.5)
    make_run(tmp_path / "1", seed=1, test_top1=0.5)
    assert not any("Not all runs" in note for note in compare([tmp_path]).notes)
    make_run(tmp_path / "2", seed=2, test_top1=0.5, manifest=changed)
    found = compare([tmp_path])
    (note,) = [note for note in found.notes if "Not all" in note]
    assert note.startswith(f"Not all runs had the same {kind} (")
    (numbers,) = {tuple(origin.values.values()) for origin in found.origins if not origin.same}
    assert numbers == ((0, 1), (2,))


def test_curves_are_by_epoch_over_seeds(tmp_path: Path) -> None:
    rows = {0: [3.0, 2.0, 1.0], 1: [5.0, 2.5]}
    for seed, losses in rows.items():
        folder = make_run(tmp_path / str(seed), seed=seed, test_top1=0.5)
        steps: list[dict[str, float]] = [{"step": 0, "epoch": 0, "lr": 0.1}]
        steps += [{"step": 5 * n + 4, "epoch": n, "train/loss": loss} for n, loss in enumerate(losses)]
        folder.write_metrics([*steps, {"step": 99, "epoch": 9, "test/top1": 0.5}])
    (group,) = compare([tmp_path]).groups
    curve = compare([tmp_path]).curves[group.number]["train/loss"]
    assert (curve.epochs, curve.mean, curve.runs) == ((1, 2, 3), (4.0, 2.25, 1.0), (2, 2, 1))
    assert (curve.low, curve.high) == ((3.0, 2.0, 1.0), (5.0, 2.5, 1.0))


def test_an_epoch_of_a_single_step_is_one(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "0", test_top1=0.5)
    folder.write_metrics([{"step": 0, "epoch": 0, "train/loss": 3.0}, {"step": 1, "epoch": 1, "train/loss": 2.0}])
    curve = compare([tmp_path]).curves[1]["train/loss"]
    assert (curve.epochs, curve.mean) == ((1, 2), (3.0, 2.0))


def test_a_folder_without_a_finished_run_still_makes_sense(tmp_path: Path) -> None:
    RunFolder(tmp_path / "0").path.mkdir()
    RunFolder(tmp_path / "0").write_result({"status": "failed", "error": "no memory"})
    found = compare([tmp_path])
    assert (found.groups, found.base, found.effects, found.states) == ([], None, [], {"failed": 1})
