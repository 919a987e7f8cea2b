"""The Custom Scalars page: charts of superclasses where there are any, each superclass in one of them."""

import re
from pathlib import Path

from vgg_cifar.data import files
from vgg_cifar.runs.custom_scalars import custom_scalars


def test_without_superclasses_there_are_no_charts_of_them() -> None:
    assert custom_scalars([], "val").keys() == {"training"}


def test_the_charts_of_cifar100_show_each_superclass_once(real_data: Path) -> None:
    names = files.load("cifar100", real_data, download=False).superclasses
    charts = custom_scalars(names, "test")["test top-1 by superclass"]
    assert "superclasses 1 to 5" not in charts
    shown = [pattern for _, patterns in charts.values() for pattern in patterns]
    for name in names:
        assert sum(bool(re.match(pattern, f"test_top1_by_superclass/{name}")) for pattern in shown) == 1
