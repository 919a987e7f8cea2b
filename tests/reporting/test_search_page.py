"""The part of the page that is about a search: what it says, and how it looks in a browser."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from made_up_search import SPACE, make_search
from read_page import Read

from vgg_cifar.comparison import trials
from vgg_cifar.comparison.search import FILE, Search, Trial
from vgg_cifar.reporting.report import report
from vgg_cifar.reporting.trial_pictures import trial_pictures

CHARTS = {"history-0", "importance-0", "parallel", "intermediate"}
SECOND = {"history-1", "importance-1", "front"}
HOSTILE = "<script>bad()</script><img src=x onerror='window.bad=1'>{{ 7*7 }}%{x}<a href='https://example.org'>&amp;"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with one objective."""
    root = tmp_path_factory.mktemp("one") / "search"
    make_search(root)
    return root


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with two."""
    root = tmp_path_factory.mktemp("two") / "search"
    make_search(root, objectives=2)
    return root


def best(root: Path) -> Trial:
    found = Search.read(root)
    assert found is not None
    return trials.best_first(found)[0]


def test_the_page_says_which_trial_is_best_and_leaves_out_what_makes_no_sense(one: Path) -> None:
    page = Read(report([one]))
    text = " ".join(page.text.split())
    first = best(one)
    assert first.values is not None
    assert re.search(r"20 of 20 trials \(\d+ complete, \d+ pruned, 2 failed, 1 running\) in the study first", text)
    assert f"{first.values[0]:.2%} (trial {first.number})" in text, "the best so far"
    assert "optimizer.lr 71%, optimizer 24%, data.batch_size 5%" in text
    assert "maximize val/top1; sampler tpe, pruner median" in text
    headings = [each for each in ("Groups", "Results", "What each option is worth", "Learning curves") if each in text]
    assert headings == []
    assert "test/top1" not in text
    links = [each["href"] for tag, each in page.tags if tag == "a"]
    assert links.count(f"./{first.jobs[0]}/") >= 3, "among the best, among all trials, among all runs"


def test_of_two_objectives_the_front_is_what_there_is_to_choose_from(two: Path) -> None:
    text = " ".join(Read(report([two])).text.split())
    assert "No trial is better in one of val/top1 and train_seconds without being worse in the other" in text
    assert "What it costs" not in text, "the front says so"


def test_the_terminal_names_the_best_trials_in_a_few_lines(
    one: Path, two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report([one])
    said = capsys.readouterr().out
    first = best(one)
    assert first.values is not None
    row = rf"^ +{first.number} +{first.values[0]:.2%} +{first.params['optimizer.lr']:.4g} {first.params['optimizer']}"
    assert re.search(row, said, re.MULTILINE)
    assert "The best by val/top1" in said
    assert "baseline" not in said
    assert not re.search(r"pruned:", said), "nobody failed there"
    report([two])
    assert "No trial beats these in both val/top1 and train_seconds" in capsys.readouterr().out


def test_a_search_that_looked_at_no_epoch_shows_the_curves_of_its_best_runs(tmp_path: Path) -> None:
    search = make_search(tmp_path / "search")
    silent = [each.model_copy(update={"intermediate": {}}) for each in search.trials]
    search.model_copy(update={"trials": silent}).write(tmp_path / "search")
    text = " ".join(Read(report([tmp_path / "search"])).text.split())
    assert "Learning curves" in text
    assert "while they trained" not in text
    assert "The first 8 by val/top1" in text


def without_trials(search: Search) -> Search:
    return search.model_copy(update={"trials": [], "importance": {}})


def waiting(search: Search) -> Search:
    nothing = {"state": "waiting", "values": None, "intermediate": {}}
    trials = [each.model_copy(update=nothing) for each in search.trials]
    return search.model_copy(update={"trials": trials, "importance": {}})


def of_one_value(search: Search) -> Search:
    """Every trial is the same, no option is searched, nothing was told on the way."""
    trials = [
        each.model_copy(update={"state": "complete", "values": [0.5], "params": {}, "intermediate": {}})
        for each in search.trials
    ]
    return search.model_copy(update={"trials": trials, "space": {}})


@pytest.mark.parametrize(
    ("change", "charts"),
    [(without_trials, set()), (waiting, set()), (of_one_value, {"history-0", "importance-0"})],
)
def test_a_search_that_tells_little_still_makes_a_page(tmp_path: Path, change: Any, charts: set[str]) -> None:
    search = change(make_search(tmp_path / "search", count=8))
    search.write(tmp_path / "search")
    assert set(trial_pictures(search)) == charts
    text = Read(report([tmp_path / "search"])).text
    assert ("No trial is complete yet" in text) == (change is not of_one_value)


def test_an_option_that_not_every_trial_has_leaves_a_gap(tmp_path: Path) -> None:
    search = make_search(tmp_path / "search")
    first = trials.best_first(search)[0]
    without = first.model_copy(update={"params": {"optimizer": "another", "data.batch_size": True}})
    search = search.model_copy(update={"trials": [without if each is first else each for each in search.trials]})
    drawn = trial_pictures(search)["parallel"]["data"][-1]
    assert drawn["x"] == [None, None, None, 1.0, None], "the best is drawn last, over the others"
    search.write(tmp_path / "search")
    assert f"trial{without.number}" not in Read(report([tmp_path / "search"])).text


def test_only_what_has_no_number_is_at_the_foot_of_the_history(tmp_path: Path) -> None:
    search = make_search(tmp_path / "search", objectives=2)
    charts = trial_pictures(search)
    failed = [trial.number for trial in search.trials if trial.state == "failed"]
    assert [trace["x"] for trace in charts["history-0"]["data"] if trace.get("yaxis") == "y2"] == [failed]
    assert "yaxis2" not in charts["history-1"]["layout"], "an empty foot would cover what lies behind it"
    silent = [each.model_copy(update={"intermediate": {}}) for each in search.trials]
    charts = trial_pictures(search.model_copy(update={"trials": silent}))
    assert len([trace for trace in charts["history-0"]["data"] if trace.get("yaxis") == "y2"]) == 2
    assert "intermediate" not in charts


def test_of_a_long_training_a_line_keeps_its_end_and_some_points(tmp_path: Path) -> None:
    search = make_search(tmp_path / "search", count=8)
    long = [
        each.model_copy(update={"intermediate": {epoch: epoch / 5000 for epoch in range(1, 5001)}})
        for each in search.trials
    ]
    line = trial_pictures(search.model_copy(update={"trials": long}))["intermediate"]["data"][0]["x"]
    assert line[-1] == 5000
    assert line == sorted(line)
    assert 100 < len(line) <= 200


def test_a_place_on_a_logarithmic_row_is_that_of_the_logarithm(tmp_path: Path) -> None:
    search = make_search(tmp_path / "search", count=8)
    rates = [0.001, 0.3, (0.001 * 0.3) ** 0.5]
    tried = [
        Trial(number=number, state="complete", values=[1 - number / 10], params={"optimizer.lr": rate})
        for number, rate in enumerate(rates)
    ]
    found = trial_pictures(search.model_copy(update={"trials": tried}))["parallel"]
    places = {trace["text"][0].split("<")[1]: trace["x"][0] for trace in found["data"]}
    assert places == {"b>trial 0": 0.0, "b>trial 1": 1.0, "b>trial 2": pytest.approx(0.5)}


def hostile(root: Path) -> Path:
    """A search whose every text is an attack."""
    make_search(root, count=8, objectives=2)
    content = json.loads((root / FILE).read_text())
    content |= {"study": HOSTILE, "sampler": HOSTILE, "pruner": HOSTILE}
    content["objectives"] = {HOSTILE: "maximize", f"{HOSTILE}2": "minimize"}
    content["importance"] = {HOSTILE: {HOSTILE: 1.0}}
    content["space"] = {HOSTILE: {"kind": "choice", "choices": [HOSTILE, "x" * 900]}}
    for trial in content["trials"]:
        trial["params"] = {HOSTILE: HOSTILE}
        trial["jobs"] += [HOSTILE, "../..", "javascript:bad()"]
    (root / FILE).write_text(json.dumps(content))
    return report([root])


def test_nothing_in_the_file_gets_out_of_its_place(tmp_path: Path) -> None:
    page = Read(hostile(tmp_path / "search"))
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "img" not in {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert re.fullmatch(r"#content|\./\d/|\./report\.csv", attributes.get("href") or "#content")
    assert page.text.count("bad()") > 10
    assert " 49 " not in page.text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def marks(browser: Browser) -> dict[str, int]:
    """How many marks and lines each chart has."""
    found: dict[str, int] = browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.chart')].map(each =>"
        " [each.id, each.querySelectorAll('.points path, path.js-line').length]))"
    )
    return found


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["desktop, light", "phone, dark"])
@pytest.mark.parametrize("objectives", [1, 2])
def test_a_browser_draws_the_search(
    one: Path, two: Path, browser: Browser, width: int, dark: bool, objectives: int
) -> None:
    root = (one, two)[objectives - 1]
    search = Search.read(root)
    assert search is not None
    browser.open(report([root]), width, dark=dark)
    assert browser.errors == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, "something is wider than the page"
    drawn = marks(browser)
    assert set(drawn) == (CHARTS | SECOND if objectives == 2 else CHARTS | {"cost"})
    states = trials.states(search)
    complete, pruned, failed = states["complete"], states["pruned"], states["failed"]
    assert drawn["history-0"] == 1 + complete + pruned + failed, "the best so far, and a mark each"
    assert drawn["importance-0"] == len(SPACE)
    assert drawn["intermediate"] == complete + 2 * pruned, "a line each, and where it was stopped"
    if objectives == 2:
        assert drawn["history-1"] == 1 + complete
        assert drawn["front"] == 1 + complete


def test_a_hostile_search_runs_nothing_in_a_browser(tmp_path: Path, browser: Browser) -> None:
    page = hostile(tmp_path / "search")
    browser.open(page, 390)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    assert browser.evaluate("typeof window.bad") == "undefined"
    assert browser.evaluate("document.querySelectorAll('img, .chart a').length") == 0
    assert "<img src=x" in browser.evaluate("document.getElementById('parallel').textContent")
    assert browser.errors == []
