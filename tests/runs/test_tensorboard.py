"""TensorBoard: the scalars of metrics.csv under the same names, accuracies by superclass, images, charts together."""

from collections.abc import Callable

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from vgg_cifar.runs.folder import RunFolder


def events(folder: RunFolder) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder.tensorboard), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def test_scalars_are_those_of_metrics_csv(train: Callable[..., RunFolder]) -> None:
    folder = train("logger=tensorboard")
    written = events(folder)
    found = {(tag, event.step): event.value for tag in written.Tags()["scalars"] for event in written.Scalars(tag)}
    expected = {
        (tag, int(row["step"])): value
        for row in folder.read_metrics()
        for tag, value in row.items()
        if tag not in ("step", "epoch")
    }
    here_only = {tag for tag, _ in found.keys() - expected.keys()}
    assert {tag.partition("/")[0] for tag in here_only} == {"val_top1_by_superclass", "test_top1_by_superclass"}
    assert expected.keys() <= found.keys()
    assert all(abs(found[key] - expected[key]) <= 1e-6 * abs(expected[key]) for key in expected)


def test_training_and_validation_loss_share_a_chart(train: Callable[..., RunFolder]) -> None:
    written = events(train("logger=tensorboard"))
    layout = layout_pb2.Layout.FromString(written.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    assert charts["loss"] == ["train/loss", "val/loss", "test/loss"]


def test_accuracies_by_superclass_make_up_the_accuracy(train: Callable[..., RunFolder]) -> None:
    folder = train("logger=tensorboard", "data.train_size=1000", "data.val_fraction=0.2", "monitor_test=true")
    written = events(folder)
    for split, epochs in (("val", 2), ("test", 3)):  # the test set is read once more at the end
        tags = [tag for tag in written.Tags()["scalars"] if tag.startswith(f"{split}_top1_by_superclass/")]
        assert len(tags) == 20
        whole = [event.value for event in written.Scalars(f"{split}/top1")]
        assert len(whole) == epochs
        if split == "val":  # where every superclass has as many images
            parts = zip(*([event.value for event in written.Scalars(tag)] for tag in tags), strict=True)
            assert [sum(each) / 20 for each in parts] == pytest.approx(whole, rel=1e-5)
    assert not any("by_superclass" in name for name in folder.read_result())


def test_augmented_images_are_shown(train: Callable[..., RunFolder]) -> None:
    folder = train("logger=tensorboard", "logger.images=9")
    (image,) = events(folder).Images("augmented training images")
    assert (image.width, image.height) == (8 * 33 + 1, 2 * 33 + 1)


def test_points_behind_the_point_of_resumption_are_not_doubled(train: Callable[..., RunFolder]) -> None:
    folder = train("logger=tensorboard", "trainer.max_epochs=1")
    train("logger=tensorboard", "trainer.max_epochs=2", f"resume={folder.path}")
    # Files begun in the same second of one process are read in any order.
    steps = sorted(event.step for event in events(folder).Scalars("train/loss"))
    assert steps == [5 - 1, 2 * 5 - 1]
