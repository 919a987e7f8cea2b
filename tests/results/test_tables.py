"""That the pages of results say what the records say, and how they say it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.reporting.formatting import MINUS, NOTHING
from vgg_cifar.results import records, tables
from vgg_cifar.runs.folder import RunFolder

Make = Callable[..., list[RunFolder]]

PAGE = (
    "<!-- best -->\n<!-- end of best -->\nbefore\n<!-- table -->\nold\n<!-- end of table -->\nbetween\n"
    "<!-- sources -->\n<!-- end of sources -->\nafter\n"
)
HARDWARE = {"cpu": "a CPU", "threads": 2, "gpus": []}


def cells(text: str, name: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_a_row_has_mean_and_deviation_over_seeds_and_what_it_took(seeds: Make, tmp_path: Path) -> None:
    folders = seeds([0.70, 0.71, 0.75])
    folders[2].write_result(folders[2].read_result() | {"train_seconds": 4000.0, "test_reads": 3})
    text = tables.table([records.record([tmp_path], name="mine")])
    assert cells(text, "`mine`") == [
        "`mine`", "3", "**72.00%** ± 2.65", "70.00%", "90.00%", NOTHING, "2", "40 s", "150", "a CPU, 2 threads", "5 x",
    ]  # fmt: skip


def test_an_ensemble_has_a_row_with_the_mean_of_single_networks_beside(
    seeds: Make, tmp_path: Path, evaluation: Callable[..., Path]
) -> None:
    seeds([0.7, 0.72], to="two")
    seeds([0.6], to="one")
    seeds([0.5], to="none")
    found = [
        records.record([tmp_path / "two"], name="two", evaluation=evaluation([0.72, 0.7], [0.74, 0.71], 0.75, 0.76)),
        records.record([tmp_path / "one"], name="one", evaluation=evaluation([0.6], [0.65])),
        records.record([tmp_path / "none"], name="none"),
    ]
    assert found[0]["ensemble"]["single_tta"] == [0.71, 0.74], "in the order of the seeds"
    text = tables.ensembles(found)
    assert cells(text, "`two`") == [
        "`two`", "2", "71.00%", "72.50%", "75.00%", "76.00%", "flip", "cpu, 32-true, commit abcdef0",
    ]  # fmt: skip
    assert cells(text, "`one`")[1:-1] == ["1", "60.00%", "65.00%", NOTHING, NOTHING, "flip"]
    assert "none" not in text


def test_one_seed_has_no_deviation_and_the_best_comes_first(seeds: Make, tmp_path: Path) -> None:
    seeds([0.4], to="low")
    seeds([0.8, 0.9], to="high")
    found = [records.record([tmp_path / name], name=name) for name in ("low", "high")]
    text = tables.table(found)
    assert cells(text, "`low`")[1:3] == ["1", "**40.00%**"]
    assert text.index("`high`") < text.index("`low`")


def test_what_made_a_row_is_told_with_the_command_that_makes_all_of_it(seeds: Make, tmp_path: Path) -> None:
    seeds([0.5, 0.6], "optimizer.lr=0.2", "model.hidden=[8,8]")
    text = tables.sources([records.record([tmp_path], name="mine", note="On a train.")])
    assert "**`mine`**: 2026-01-02, commit 0123456, a CPU, 2 of 4 cores, 32-true, torch 2.15.0. On a train." in text
    assert "\n.venv/bin/python src/train.py -m data=synthetic optimizer.lr=0.2 'model.hidden=[8,8]' seed=0,1\n" in text


def test_what_was_not_the_same_stands_beside_it(seeds: Make, tmp_path: Path) -> None:
    seeds([0.5], to="a")
    hardware = {"cpu": "a CPU", "threads": 1, "gpus": [], "accelerator": "cpu", "precision": "32-true", "ranks": 1}
    (other,) = seeds([0.6], to="b", manifest={"hardware": hardware, "start": "2026-02-01T00:00:00+00:00"})
    other.write_config(other.read_config() | {"seed": 7})
    text = tables.sources([records.record([tmp_path], name="mine", differ=["threads"])])
    assert "2026-01-02 to 2026-02-01, commit 0123456, " in text
    assert "threads not the same for all (2; 1)." in text
    assert "seed=0,7" in text


def test_rows_are_compared_over_the_seeds_that_they_share(seeds: Make, tmp_path: Path) -> None:
    seeds([0.70, 0.72, 0.74], to="as_it_is")
    seeds([0.60, 0.63], "optimizer=adam", to="adam")
    made = records.record([tmp_path], name="mine", reference="optimizer=sgd")
    text = tables.ablation(made)
    assert cells(text, "as it is") == ["as it is", "3", "73.00% ± 2.00", NOTHING, NOTHING]
    # differences of -10 and -9 points: their mean, and 12.706 (t, one degree of freedom) times 0.5 around it
    assert cells(text, "`optimizer=adam`") == [
        "`optimizer=adam`",
        "2",
        "62.50% ± 2.12",
        f"{MINUS}9.50",
        f"{MINUS}15.85 to {MINUS}3.15",
    ]
    assert "\n.venv/bin/python src/train.py -m data=synthetic seed=0,1,2 sweep=mine\n" in text
    assert "record=mine" in text
    assert tables.table([made]).count("\n") == 1, "it is no row of the other table"


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        (["NVIDIA H100 80GB HBM3"], "H100"),
        (["NVIDIA A100-SXM4-40GB"] * 2, "2 x A100-SXM4"),
        (["NVIDIA GeForce RTX 4090"], "GeForce RTX 4090"),
        ([], "a CPU, 2 threads"),
    ],
)
def test_a_device_is_named_shortly(gpus: list[str], said: str) -> None:
    assert tables.device(HARDWARE | {"gpus": gpus}) == said


@pytest.mark.parametrize(
    ("cpu", "said"),
    [
        ("Intel(R) Xeon(R) Processor", "Intel Xeon"),
        ("Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", "Intel Core i7-8650U"),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "Intel Xeon E5-2680 v4"),
        ("AMD Opteron(tm) Processor 6376", "AMD Opteron 6376"),
        ("AMD EPYC 7B13", "AMD EPYC 7B13"),
    ],
)
def test_a_processor_is_named_without_what_is_no_name(cpu: str, said: str) -> None:
    assert tables.device(HARDWARE | {"cpu": cpu}) == f"{said}, 2 threads"


def test_the_best_of_each_recipe_is_told_from_the_rest(seeds: Make, tmp_path: Path) -> None:
    accuracies = {
        "low": 0.4, "high": 0.5, "another": 0.3, "alone": 0.2, "also_alone": 0.1,
        "record": 0.6, "record_wide": 0.55, "recorded": 0.58, "speedrun": 0.35, "speedrun_cpu_4": 0.34,
    }  # fmt: skip
    typed = {
        "low": "twelve_epochs", "high": "twelve_epochs", "another": "record",
        "record": "twelve_epochs", "record_wide": "twelve_epochs",  # found by changing twelve_epochs
        "speedrun": "twelve_epochs", "speedrun_cpu_4": "speedrun_cpu",
    }  # fmt: skip
    for name, accuracy in accuracies.items():
        said = ["data=synthetic", *([f"experiment={typed[name]}"] if name in typed else []), "optimizer.lr=0.2"]
        seeds([accuracy], to=name, manifest={"overrides": said})
    found = [records.record([tmp_path / name], name=name) for name in accuracies]
    assert [each["name"] for each in tables.best_of_each(found)] == [
        "record", "recorded", "high", "speedrun", "speedrun_cpu_4", "alone", "also_alone",
    ]  # fmt: skip


def test_a_page_is_filled_between_its_markers_and_keeps_the_rest(seeds: Make, tmp_path: Path) -> None:
    seeds([0.5])
    made = records.record([tmp_path], name="mine")
    page = tables.filled({"page": PAGE}, [made])["page"]
    assert [words in page for words in ("before\n", "\nbetween\n", "\nafter\n", "| `mine` |", "**`mine`**: ")] == [
        True
    ] * 5
    assert "old" not in page
    assert tables.filled({"page": page}, [made])["page"] == page


@pytest.mark.parametrize("page", ["nothing\n", "<!-- table -->\nold\n", "<!-- sources -->\nold\n"])
def test_a_page_without_markers_or_with_half_of_one_is_refused(page: str) -> None:
    with pytest.raises(UserError, match="the page lacks the line <!-- "):
        tables.filled({"page": page}, [])


def test_a_comparison_without_a_place_on_any_page_is_refused(seeds: Make, tmp_path: Path) -> None:
    seeds([0.5], to="a")
    seeds([0.6], "optimizer=adam", to="b")
    made = records.record([tmp_path], name="mine", reference="1")
    with pytest.raises(UserError, match="page: none has the line <!-- mine -->"):
        tables.filled({"page": PAGE}, [made])


def test_the_pages_say_what_the_records_say() -> None:
    pages = {path: (PROJECT / path).read_text() for path in ("README.md", "docs/results.md")}
    found = records.read(PROJECT / "docs" / "records")
    assert len(found) > 1
    assert tables.filled(pages, found) == pages


@pytest.fixture
def type_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Type `python benchmarks/results.py ...` in this process, with page, records and picture in `tmp_path`."""
    import results as script

    def start(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["results.py", *words])
        script.main()

    (tmp_path / "records").mkdir()
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    values: dict[str, Any] = {"RECORDS": tmp_path / "records", "PAGES": (page,), "PICTURE": tmp_path / "picture.svg"}
    for name, value in values.items():
        monkeypatch.setattr(script, name, value)
    return start


def test_from_runs_to_record_tables_and_picture(
    seeds: Make, tmp_path: Path, type_results: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    seeds([0.5, 0.6], "data=cifar100")
    type_results(f"runs={tmp_path / 'runs'}", "name=mine", "note=Quick.")
    page = (tmp_path / "page.md").read_text()
    assert (tmp_path / "records" / "mine.json").is_file()
    assert "| `mine` | 2 |" in page
    assert "Quick." in page
    assert "<svg" in (tmp_path / "picture.svg").read_text()
    assert "| `mine` | 2 |" in capsys.readouterr().out


def test_more_seeds_join_a_record_and_its_row(seeds: Make, tmp_path: Path, type_results: Callable[..., None]) -> None:
    first, second = seeds([0.5, 0.6], "data=cifar100")
    type_results(f"runs={first.path}", "name=mine", "note=Quick.")
    type_results(f"runs={second.path}", "joins=mine")
    assert "| `mine` | 2 | **55.00%**" in (tmp_path / "page.md").read_text()
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["mine.json"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["joins=mine", "name=other"], "joins: name= is for records that are made anew; leave it out"),
        (["joins=mime"], r"joins: there is no mime, only mine; did you mean mine\?"),
    ],
)
def test_seeds_that_can_join_nothing_change_nothing(
    seeds: Make, tmp_path: Path, type_results: Callable[..., None], words: list[str], line: str
) -> None:
    first, second = seeds([0.5, 0.6], "data=cifar100")
    type_results(f"runs={first.path}", "name=mine")
    before = (tmp_path / "page.md").read_text()
    with pytest.raises(UserError, match=f"^{line}$"):
        type_results(f"runs={second.path}", *words)
    assert (tmp_path / "page.md").read_text() == before


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([], "the pages are of runs on cifar100, one of these was on synthetic"),
        (["data=cifar100", "data.test_size=100"], "the table is of all test images, data.test_size=100 was of some"),
    ],
)
def test_runs_on_other_images_have_no_place_in_the_table(
    seeds: Make, tmp_path: Path, type_results: Callable[..., None], overrides: list[str], line: str
) -> None:
    seeds([0.5, 0.6], *overrides)
    with pytest.raises(UserError, match=f"^runs: {line}$"):
        type_results(f"runs={tmp_path / 'runs'}", "name=mine")
    assert list((tmp_path / "records").iterdir()) == []
    assert (tmp_path / "page.md").read_text() == PAGE


def test_runs_on_other_images_are_not_compared(seeds: Make, tmp_path: Path, type_results: Callable[..., None]) -> None:
    images = {"manifest": {"data": {"synthetic": "seed 0"}}}
    seeds([0.5], "data=cifar100", to="runs/real", **images)
    seeds([0.6], to="runs/other", **images)
    (tmp_path / "page.md").write_text(f"{PAGE}<!-- mine -->\n<!-- end of mine -->\n")
    with pytest.raises(UserError, match=r"^runs: the pages are of runs on cifar100, one of these was on synthetic$"):
        type_results(f"runs={tmp_path / 'runs'}", "name=mine", "reference=data=cifar100")
    assert list((tmp_path / "records").iterdir()) == []
