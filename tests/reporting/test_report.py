"""The page that compares runs: what it says, what it never does, and how it looks in a browser."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from browser import Browser
from hand_made import RESULT, configuration, make_run
from PIL import Image
from read_page import Read

from vgg_cifar.errors import UserError
from vgg_cifar.reporting.report import report
from vgg_cifar.runs.folder import RunFolder

HOSTILE = "<script>bad()</script><!--</style>{{ 7*7 }}%{x}<b>'\"&amp;\ud800=HYPERLINK()"
EPOCHS = 4


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two optimizers, three seeds, a failure that says hostile things, and a job that waits."""
    root = tmp_path_factory.mktemp("sweeps") / "a sweep"
    jobs = []
    for optimizer, first in (("sgd", 0.5), ("adam", 0.53)):
        for seed in range(3):
            folder = make_run(
                root / str(len(jobs)), f"optimizer={optimizer}", seed=seed,
                test_top1=first + seed / 100, val_top1=first + seed / 90, train_seconds=60.0 + 10 * seed,
            )  # fmt: skip
            folder.write_metrics(
                [
                    {"step": 5 * n + 4, "epoch": n, "train/loss": 3 / (n + 1), "val/loss": 3 / (n + 1) + seed / 10,
                     "val/top1": (first + seed / 90) * (n + 1) / EPOCHS}
                    for n in range(EPOCHS)
                ]
            )  # fmt: skip
            jobs.append([f"optimizer={optimizer}", f"seed={seed}"])
    failed = RunFolder(root / "6")
    failed.path.mkdir()
    failed.write_result({"status": "failed", "error": HOSTILE.replace("\ud800", "")})
    jobs += [["optimizer=rmsprop", f"tags=['{HOSTILE}']", "seed=0"], ["optimizer=rmsprop", "seed=1"]]
    listed = [
        {"number": number, "folder": str(number), "key": f"{number:016x}", "overrides": typed}
        for number, typed in enumerate(jobs)
    ]
    content = {"name": HOSTILE, "command": ["python", "src/train.py", "-m", HOSTILE], "versions": {}, "jobs": listed}
    (root / "sweep.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def page(sweep: Path) -> Path:
    """The page of the sweep."""
    return report([sweep])


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_page_and_the_terminal_say_what_was_found(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = report([sweep])
    assert page == sweep / "report.html"
    text = " ".join(Read(page).text.split())
    for words in (
        "51.00%",
        "54.00%",
        "+3.00",
        "8 runs (6 finished, 1 failed, 1 queued)",
        "<script>bad()</script>",
        "{{ 7*7 }}",
    ):
        assert words in text
    assert " 49 " not in text
    said = capsys.readouterr().out
    for words in ("optimizer", "54.00%", "+3.00", "baseline", str(page)):
        assert words in said
    assert re.search(r"^2  adam +3 ", said, re.MULTILINE)


def test_the_table_has_a_row_per_run_and_no_formula(page: Path) -> None:
    found = rows(page.with_name("report.csv"))
    assert [row["number"] for row in found] == [str(number) for number in range(8)]
    assert [float(row["test/top1"]) for row in found[:6]] == [0.5, 0.51, 0.52, 0.53, 0.54, 0.55]
    assert (found[3]["folder"], found[3]["optimizer"], found[3]["seed"]) == ("3", "adam", "0")
    assert float(found[1]["train_seconds"]) == 70
    assert (found[6]["status"], found[7]["status"]) == ("failed", "queued")


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", " =1", "\r=1"])
def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path: Path, text: str) -> None:
    make_run(tmp_path / "0", status="failed", error=f"x{text}")
    make_run(tmp_path / "1", "trainer.max_steps=7", test_top1=0.5)
    folder = make_run(tmp_path / "2", test_top1=0.5)
    folder.write_config(folder.read_config() | {"label_smoothing": text})
    report([tmp_path])
    found = rows(tmp_path / "report.csv")
    assert found[2]["label_smoothing"][0] == "'"
    assert (found[1]["trainer.max_steps"], found[2]["trainer.max_steps"]) == ("7", "-1"), "a number is one"


def test_nothing_in_a_folder_gets_out_of_its_place(tmp_path: Path) -> None:
    """Hostile texts in every place that is shown: only the page's own scripts, no address but links to the folders."""
    runs = tmp_path / "<img src=x onerror=bad()>"
    manifest: dict[str, Any] = {
        "git": {"commit": HOSTILE, "dirty": HOSTILE}, "packages": {HOSTILE: HOSTILE},
        "hardware": {"cpu": HOSTILE, "gpus": [HOSTILE]}, "data": {HOSTILE: HOSTILE}, "overrides": [HOSTILE],
    }  # fmt: skip
    for seed in range(2):
        for name in ("sgd", HOSTILE.replace("\ud800", "")):
            folder = make_run(runs / f"{name[:3]}{seed}", seed=seed)
            optimizer = configuration()["optimizer"] | {"name": name}
            folder.write_config(configuration() | {"seed": seed, "optimizer": optimizer})
            folder.manifest.write_text(json.dumps(manifest))
            folder.result.write_text(json.dumps(RESULT | {"test/top1": 0.5 + seed / 10, HOSTILE: 1.0}))
    make_run(runs / "failed", seed=9, status="failed", error=HOSTILE.replace("\ud800", ""))
    plain = tmp_path / "plain"
    for seed in range(2):
        make_run(plain / f"a{seed}", seed=seed, test_top1=0.5)
        make_run(plain / f"b{seed}", "optimizer=adam", seed=seed, test_top1=0.5, manifest={"packages": {"torch": "2"}})
    make_run(plain / "failed", seed=9, status="failed", error="no memory")
    page, expected = Read(report([runs])), Read(report([plain]))
    assert [tag for tag, _ in page.tags].count("script") == [tag for tag, _ in expected.tags].count("script") == 3
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in expected.tags} | {
        "figcaption",
        "button",
        "details",
        "summary",
    }
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert re.match(r"#|\./", attributes.get("href") or "#")
        assert "src" not in attributes
    assert page.text.count("bad()") > 10
    assert not re.search(r"<script>bad", (runs / "report.html").read_text())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "runs: which ones?"),
        (("runs=nowhere",), "runs: there is no folder"),
        (("runs=.",), "runs: there is no run in"),
        (("runs=a,b",), "to: several folders are compared; say where"),
        (("runs=.", "metrik=x"), "did you mean metric?"),
    ],
)
def test_a_mistake_is_one_line(command: Callable[..., CompletedProcess[str]], arguments: Any, words: str) -> None:
    done = command("report.py", *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert words in done.stderr


def test_the_command_writes_where_it_is_told(command: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    make_run(tmp_path / "one", test_top1=0.5)
    make_run(tmp_path / "two", "optimizer=adam", test_top1=0.6)
    done = command("report.py", "runs=one,two", "to=pages/here", "baseline=optimizer=adam")
    assert done.returncode == 0, done.stderr
    links = [each["href"] for tag, each in Read(tmp_path / "pages" / "here" / "report.html").tags if tag == "a"]
    assert {"./../../one/", "./../../two/"} <= set(links)
    assert "−10.00" in done.stdout  # noqa: RUF001
    assert "runs=FOLDER" in command("report.py", "--help").stdout


@pytest.mark.parametrize(
    "result", [{"test_top1": 0.5}, {"status": "failed", "error": "no memory"}], ids=["one", "none"]
)
def test_one_run_or_none_finished_still_makes_a_page(tmp_path: Path, result: dict[str, Any]) -> None:
    make_run(tmp_path / "0", **result)
    text = Read(report([tmp_path])).text
    assert "no memory" in text or "50.00%" in text


def test_a_place_that_is_a_file_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path / "0", test_top1=0.5)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="to: "):
        report([tmp_path / "0"], to=tmp_path / "file")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def colours(shot: Path) -> int:
    """How many colours a picture has: a blank one has one or two."""
    return len(Image.open(shot).convert("RGB").getcolors(1 << 24) or ())


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["desktop, light", "phone, dark"])
def test_a_browser_draws_the_page(page: Path, browser: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    browser.open(page, width, dark=dark)
    assert browser.errors == []
    assert [address for address in browser.requests if not address.startswith("data:")] == [page.as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, "something is wider than the page"
    marks = browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.chart')].map("
        "each => [each.id, each.querySelectorAll('.points path, path.js-line').length]))"
    )
    assert set(marks) == {"results", "effects", "cost", "curve-val-top1", "curve-train-loss", "curve-val-loss"}
    assert marks["cost"] == 6
    assert marks["results"] == 6 + 2
    assert marks["curve-val-top1"] == 2 * (EPOCHS + 2), "marks, a line and a band's edge for each group"
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 300) == dark
    browser.screenshot(tmp_path / "shot.png")
    assert colours(tmp_path / "shot.png") > 100


def test_tables_sort_and_lines_hide_by_the_keyboard(page: Path, browser: Browser) -> None:
    browser.open(page, 1280)
    column = "[...document.querySelectorAll('[aria-label=\"All runs\"] tbody tr')].map(row => row.cells[0].innerText)"
    before = browser.evaluate(column)
    assert before == [str(number) for number in range(8)]
    browser.evaluate("document.querySelectorAll('[aria-label=\"All runs\"] th button')[6].focus()")
    for expected in (["0", "1", "2", "3", "4", "5", "6", "7"], ["5", "4", "3", "2", "1", "0", "6", "7"]):
        browser.press("Enter", 13)
        assert browser.evaluate(column) == expected, "by test/top1, what is missing below"
    shown = "document.querySelectorAll('#curve-val-top1 path.js-line').length"
    both = browser.evaluate(shown)
    browser.evaluate("document.querySelector('.legend button').focus()")
    browser.press("Enter", 13)
    assert browser.evaluate(shown) == both / 2
    assert browser.errors == []


def test_a_hostile_page_runs_nothing_in_a_browser(tmp_path: Path, browser: Browser) -> None:
    name = "<img src=x onerror='window.bad=1'><a href='https://example.org'>x</a><script>bad=1</script>"
    for seed in range(2):
        folder = make_run(tmp_path / str(seed), seed=seed, test_top1=0.5 + seed / 10)
        folder.write_config(configuration() | {"seed": seed, "label_smoothing": name * seed + seed * 300 * "x"})
    page = report([tmp_path])
    browser.open(page, 390)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    browser.open(page, 1280)
    assert browser.evaluate("typeof window.bad") == "undefined"
    assert browser.evaluate("document.querySelectorAll('img, .chart a').length") == 0
    assert "<img src=x" in browser.evaluate("document.getElementById('results').textContent")
    assert browser.errors == []


def test_the_policy_of_the_page_lets_no_other_script_run(page: Path, browser: Browser) -> None:
    browser.open(page, 1280)
    browser.evaluate(
        "{const s = document.createElement('script'); s.textContent = 'window.bad = 1'; document.body.append(s)}"
    )
    browser.evaluate("{const i = new Image(); i.src = 'https://example.org/x.png'; document.body.append(i)}")
    assert browser.evaluate("typeof window.bad") == "undefined"
    assert browser.evaluate("fetch('https://example.org').then(() => 1, () => 0)") == 0
    assert any("Content Security Policy" in error for error in browser.errors)
