"""What the benchmarks share, the page that is made of their records, and the quickest of them as it is typed."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import breakdown
import performance
from rounds import Arguments, Measured, take_turns
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError


def test_sides_take_turns() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[], float]:
        return lambda: float(order.append(name) or len(order))  # type: ignore[func-returns-value]

    measured = take_turns("trial", "turns", {"a": side("a"), "b": side("b")}, rounds=3)
    assert order == ["a", "b"] * 3
    assert measured.rounds == {"a": [1, 3, 5], "b": [2, 4, 6]}


def test_ratios_are_of_neighbours_and_the_table_has_their_median_and_spread() -> None:
    measured = Measured("trial", "images/s", {"ours": [10.0, 400.0, 90.0], "theirs": [5.0, 100.0, 30.0]}, ["theirs"])
    assert measured.ratios("ours", "theirs") == [2, 4, 3]
    heading, _, ours, _ = ([cell.strip() for cell in line.split("|")[1:-1]] for line in measured.markdown().split("\n"))
    assert heading == ["trial: images/s", "median", "min", "max", "x theirs"]
    assert ours == ["ours", "90.0", "10.0", "400", "3.00 (2.00 to 4.00)"]


def event(category: str, name: str, start: float, length: float, call: int = 0) -> dict[str, Any]:
    """An entry of a trace, in milliseconds for each of its batches."""
    scale = 1000 * breakdown.BATCHES
    return {
        "ph": "X", "cat": category, "name": name, "tid": 1, "ts": scale * start, "dur": scale * length,
        "args": {"External id": call},
    }  # fmt: skip


def of_trace(folder: Path, *events: dict[str, Any], gpu: bool) -> dict[str, float]:
    path = folder / "trace.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": [{"ph": "M", "name": "thread"}, *events]}).encode()))
    return breakdown.operators(path, gpu=gpu)


def test_on_a_gpu_the_time_of_kernels_goes_to_the_operators_that_launched_them(tmp_path: Path) -> None:
    assert of_trace(
        tmp_path,
        event("cpu_op", "aten::mm", 0, 1, call=7),
        event("cpu_op", "aten::add_", 1, 1, call=8),
        event("kernel", "gemm", 2, 3, call=7),
        event("kernel", "elementwise", 4, 2, call=8),  # beside the end of the other, in another stream
        event("gpu_memcpy", "Memcpy HtoD", 8, 2),
        gpu=True,
    ) == pytest.approx({"aten::mm": 3, "aten::add_": 2, "Memcpy HtoD": 2, "(nothing runs)": 4})


def test_on_a_cpu_an_operator_has_the_time_that_is_not_in_those_it_calls(tmp_path: Path) -> None:
    assert of_trace(
        tmp_path,
        event("cpu_op", "aten::linear", 0, 6),
        event("cpu_op", "aten::addmm", 1, 4),
        event("cpu_op", "aten::copy_", 2, 1),
        event("cpu_op", "aten::relu", 8, 2),
        gpu=False,
    ) == pytest.approx({"aten::linear": 2, "aten::addmm": 3, "aten::copy_": 1, "aten::relu": 2, "(nothing runs)": 2})


def test_a_trace_without_kernels_is_not_taken_for_one_of_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the trace has no kernels"):
        of_trace(tmp_path, event("cpu_op", "aten::mm", 0, 1), gpu=True)


def test_the_pages_say_what_the_records_say() -> None:
    texts = [page.read_text() for page in performance.PAGES]
    assert "```\n.venv/bin/python benchmarks/" in texts[0]
    assert performance.pages(texts) == texts


def test_a_record_without_a_place_on_any_page_is_not_passed_over() -> None:
    first, *others = (page.read_text() for page in performance.PAGES)
    with pytest.raises(UserError, match="none has the line <!-- train_step_cpu -->"):
        performance.pages([first.replace("train_step_cpu", "another_cpu"), *others])


def test_the_quickest_benchmark_from_its_command_to_its_record(tmp_path: Path) -> None:
    typed = ["rounds=2", "images=200", "policies=rotate", "json=record.json"]
    command = [sys.executable, PROJECT / "benchmarks" / "input_pipeline.py", *typed]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    (table,) = record["tables"]
    assert len(table["rounds"]) == 4
    assert all(len(rates) == 2 and min(rates) > 0 for rates in table["rounds"].values())
    assert Measured(**table).markdown() in done.stdout
    assert record["command"][1:] == ["benchmarks/input_pipeline.py", *typed]
    assert Measured(**table).markdown() in performance.part("trial", record)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("rounds=0", "rounds: should be a whole number from 1 up, is 0"),
        ("rounds=", "rounds: should be a whole number from 1 up, is "),
        ("sizes=32,", "sizes: should be whole numbers from 1 up, like 32,128, is 32,"),
        ("shapes=plane", "shapes: there is no plane, only plain, baseline; did you mean plain?"),
        ("json=nowhere/record.json", "json: there is no folder "),
        ("round=1", "round=1: expected rounds=..."),
    ],
)
def test_a_mistake_says_what_to_do(monkeypatch: pytest.MonkeyPatch, typed: str, said: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark.py", typed])
    with pytest.raises(UserError, match=f"^{re.escape(said)}"):
        read()


def read() -> tuple[int, list[int], list[str]]:
    given = Arguments(rounds="3", sizes="32,64", shapes="plain,baseline", json="")
    return given.count("rounds"), given.counts("sizes"), given.chosen("shapes", ["plain", "baseline"])


def test_what_is_not_typed_is_as_the_benchmark_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "sizes=8"])
    assert read() == (3, [8], ["plain", "baseline"])
