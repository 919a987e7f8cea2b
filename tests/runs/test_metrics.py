"""metrics.csv: one row per step, nothing doubled when a run goes on."""

from pathlib import Path

from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.metrics import MetricsFile


def test_values_of_one_step_share_a_row(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    metrics = MetricsFile(folder)
    metrics.log_metrics({"train/loss": 2.0, "epoch": 0}, step=5)
    metrics.log_metrics({"val/loss": 1.5, "epoch": 0}, step=5)
    metrics.log_metrics({"train/loss": 1.0, "epoch": 1}, step=10)
    metrics.save()
    assert folder.read_metrics() == [
        {"step": 5, "epoch": 0, "train/loss": 2.0, "val/loss": 1.5},
        {"step": 10, "epoch": 1, "train/loss": 1.0},
    ]
    assert folder.metrics.read_text().splitlines()[0] == "step,epoch,train/loss,val/loss"


def test_rows_behind_the_point_of_resumption_are_dropped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    before = MetricsFile(folder)
    for step in (1, 2, 3):
        before.log_metrics({"train/loss": float(step)}, step=step)
    before.save()
    after = MetricsFile(folder, after_step=2)
    after.log_metrics({"train/loss": 30.0}, step=3)
    after.save()
    assert [row["train/loss"] for row in folder.read_metrics()] == [1.0, 2.0, 30.0]
