"""What a person reads: the configuration at the start, the table at the end."""

import pytest

from vgg_cifar.reporting.terminal import closing, configuration


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.replace("│", " ").replace("├──", " ").split())


def test_the_configuration_has_a_line_per_group_and_marks_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    raw = {
        "seed": 3,
        "profile": 5,
        "optimizer": {"lr": 0.2, "name": "sgd"},
        "schedule": {"warmup": 0.1, "name": "cosine"},
    }
    configuration(
        raw, {"seed": 0, "profile": None, "optimizer.lr": 0.1, "schedule.name": "onecycle", "schedule.warmup": 0.2}
    )
    text = shown(capsys)
    assert "seed=3 (not 0) profile=5 (not null)" in text
    assert "optimizer sgd lr=0.2 (not 0.1)" in text
    assert "schedule cosine (not onecycle) warmup=0.1" in text
    assert "0.2)" not in text, "another choice's default says nothing about this one"


RESULT = {
    "epochs": 12,
    "steps": 4692,
    "tested_checkpoint": "last",
    "tested_epoch": 12,
    "test_reads": 1,
    "train/loss": 1.0,
    "test/loss": 1.25,
    "test/top1": 0.6789,
    "test/top5": 0.9,
    "test/superclass_top1": 0.79,
    "train_seconds": 3600.0,
    "total_seconds": 7200.0,
    "images_per_second": 166.7,
}


def test_the_closing_table_says_what_came_out_beside_chance(capsys: pytest.CaptureFixture[str]) -> None:
    closing(RESULT, classes=100, superclasses=20)
    text = shown(capsys)
    for words in (
        "test/top1 67.89% chance 1.00%; last checkpoint, epoch 12",
        "test/top5 90.00% chance 5.00%",
        "test/superclass_top1 79.00% chance 5.00%",
        "test/loss 1.2500",
        "test set read 1 x",
        "trained 60 min 12 epochs, 4,692 steps",
        "images/s 167 while it trained",
        "in all 2 h 00 min with setting up and evaluating",
    ):
        assert words in text
    assert "train/loss" not in text


def test_one_epoch_is_not_several(capsys: pytest.CaptureFixture[str]) -> None:
    closing(RESULT | {"epochs": 1}, classes=100, superclasses=0)
    assert " 1 epoch, 4,692 steps" in shown(capsys)


def test_more_than_one_reading_of_the_test_set_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    closing(RESULT | {"test_reads": 13}, classes=100, superclasses=0)
    assert "test set read 13 x each end of the run, and each look while it trained" in shown(capsys)
