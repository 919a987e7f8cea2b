"""What a spreadsheet would compute is written as a text; every other text stays as it is."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from asked import asked

from vgg_cifar.evaluation import tables
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.spreadsheet import cell


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", " =1", "\r=1", "-a", "+"])
def test_a_formula_becomes_a_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "-", "a=1", "bee", "-1", "+1e-3", "1", "large_man-made_outdoor_things", "'"])
def test_other_texts_and_numbers_stay(text: str) -> None:
    assert cell(text) == text


def test_zero_bytes_go_and_nothing_is_empty() -> None:
    assert cell("\0=1") == "'=1"
    assert cell(None) == ""
    assert cell(-3) == "-3"


def test_no_name_of_a_class_is_a_formula_in_the_tables_of_an_evaluation(train: Callable[..., RunFolder]) -> None:
    found = asked(train())
    names = {"classes": [f"={name}" for name in found.classes],
             "superclasses": [f"@{name}" for name in found.dataset.superclasses]}  # fmt: skip
    found = replace(found, dataset=replace(found.dataset, **names))
    columns = {"class", "predicted_class", "superclass", "predicted_superclass", "top1", "most_confused_with"}
    for table in (tables.per_class(found), tables.predictions(found), tables.confusion(found)):
        rows = list(csv.DictReader(io.StringIO(table)))
        assert not any(column.startswith(("=", "@")) for column in rows[0])
        shown = [row[column] for row in rows for column in columns & row.keys()]
        assert len(shown) >= len(rows)
        assert all(word[:2] in ("'=", "'@", "") for word in shown)
