"""What predictions look like: a table, JSON, CSV."""

import csv
import io
import json

import pytest
from rich.console import Console

from vgg_cifar.prediction.output import Csv, Json, Output, Table
from vgg_cifar.prediction.predictor import Prediction

CLASSES = ("aquarium_fish", "bee", "[red]cat", "dog\x1b[2J")
ONE = Prediction(CLASSES, (0.987654321, 0.01, 0.002, 1.5e-9))
OTHER = Prediction(CLASSES[::-1], (0.4, 0.3, 0.2, 0.1))
ANSWERS = [("a, b.png", ONE), ("\x1b[31m\nred\udcff.png", OTHER)]


def superclass(name: str) -> str | None:
    return "fish" if name == "aquarium_fish" else None


def text(output: Output, answers: list[tuple[str, Prediction]] = ANSWERS) -> str:
    return output.begin() + "".join(output.add([each]) for each in answers) + output.end()


def table(width: int | None, top: int = 5) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=width is not None, width=width, color_system=None)
    return text(Table(top, [name for name, _ in ANSWERS], CLASSES, console)).splitlines()


def test_json_is_a_list_of_objects_with_the_names_as_they_are() -> None:
    found = json.loads(text(Json(2, superclass)))
    assert [each["file"] for each in found] == [name for name, _ in ANSWERS]
    assert found[0]["predictions"] == [
        {"class": "aquarium_fish", "superclass": "fish", "probability": 0.987654},
        {"class": "bee", "superclass": None, "probability": 0.01},
    ]
    assert text(Json(2, superclass)).isascii()
    assert json.loads(text(Json(2, superclass), [])) == []


def test_csv_has_a_line_per_file_and_rank() -> None:
    written = text(Csv(9, superclass))
    rows = list(csv.DictReader(io.StringIO(written)))
    assert len(rows) == 8 == written.count("\n") - 1
    assert rows[0] == {
        "file": "a, b.png", "rank": "1", "class": "aquarium_fish", "superclass": "fish", "probability": "0.987654",
    }  # fmt: skip
    assert (rows[3]["rank"], rows[3]["class"], float(rows[3]["probability"])) == ("4", r"dog\x1b[2J", 1.5e-9)
    assert rows[4]["file"] == r"\x1b[31m\nred\udcff.png"
    assert written.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", ["=1+1.png", "+a.png", "-a.png", "@SUM(1).png", " =1.png"])
def test_no_name_in_csv_is_a_formula(name: str) -> None:
    prediction = Prediction(("=cmd|' /C calc'!A0", "bee"), (0.75, 0.25))
    first, second = csv.DictReader(io.StringIO(text(Csv(2, lambda _: "@fish"), [(name, prediction)])))
    assert (first["file"], first["class"], first["superclass"]) == (f"'{name}", "'=cmd|' /C calc'!A0", "'@fish")
    assert (second["class"], second["probability"]) == ("bee", "0.25")


def test_a_wide_table_has_a_line_per_image() -> None:
    heading, first, second = table(200)
    assert heading.split() == ["file", "likeliest", "first"]
    assert first.split() == ["a,", "b.png", "aquarium_fish", "98.8%", "bee", "1.0%", "[red]cat", "0.2%",
                             r"dog\x1b[2J", "0.0%"]  # fmt: skip
    assert second.startswith(r"\x1b[31m\nred\udcff.png  dog\x1b[2J")
    assert first.index("98.8%") == second.index("40.0%")


def test_in_a_pipe_every_image_has_one_line_however_long() -> None:
    lines = table(None)
    assert len(lines) == 3
    assert max(map(len, lines)) > 100


@pytest.mark.parametrize("width", [24, 30, 40, 60, 80, 100])
def test_a_narrow_table_keeps_within_the_terminal_and_leaves_no_class_out(width: int) -> None:
    lines = table(width)
    assert max(map(len, lines)) <= width
    said = " ".join(lines)
    for percent in ("98.8%", "1.0%", "0.2%", "0.0%", "40.0%", "30.0%", "20.0%", "10.0%"):
        assert percent in said
    starts = {line.index(number) for line in lines for number in ("98.8%", "40.0%") if number in line}
    assert len(starts) == 1
    assert len(lines) > 3


def test_as_many_classes_as_were_asked_for() -> None:
    assert [len(line.split("%")) - 1 for line in table(200, top=1)] == [0, 1, 1]
