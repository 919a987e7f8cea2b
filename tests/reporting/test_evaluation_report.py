"""The page of an evaluation, looked at in a browser, and what lies beside it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asked import asked
from browser import Browser
from conftest import TINY
from PIL import Image
from read_page import Read
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vgg_cifar.composition import compose_and_check
from vgg_cifar.errors import UserError
from vgg_cifar.evaluation.findings import Findings
from vgg_cifar.reporting.evaluation_report import write_evaluation
from vgg_cifar.reporting.terminal import evaluated
from vgg_cifar.runs.folder import RunFolder


def trained(folder: Path, *overrides: str) -> RunFolder:
    from vgg_cifar.training import run

    typed = [*TINY, "data.val_fraction=0.2", "data.test_size=500", "optimizer.lr=0.02", *overrides]
    assert run(compose_and_check(typed).config, RunFolder(folder), typed) == 0
    return RunFolder(folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    folder = trained(tmp_path_factory.mktemp("evaluation") / "run", "trainer.max_epochs=3")
    return asked(folder, tta="flip", corruptions=20)


@pytest.fixture(scope="module")
def page(found: Findings) -> Path:
    return write_evaluation(found, found.members[0].folder.evaluation)


def test_the_page_tells_what_was_found(found: Findings, page: Path) -> None:
    text = " ".join(Read(page).text.split())
    assert f"top-1{found.metrics['test/top1']:.2%}chance 1%" in text
    assert f"{found.metrics['test/loss']:.4f}" in text
    assert "mean over 2 views of each image (tta=flip)" in text
    assert "gaussian noise" in text
    assert "which was fitted on held-out images alone" in text
    assert str(found.members[0].folder.path) in text


def test_each_of_several_networks_is_told_of_by_itself(
    found: Findings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = trained(tmp_path / "other", "trainer.max_epochs=1", "seed=1")
    both = asked(found.members[0].folder, other, tta="flip")
    page = write_evaluation(both, tmp_path / "both")
    text = " ".join(Read(page).text.split())
    evaluated(both, page)
    printed = " ".join(capsys.readouterr().out.split())
    for member in both.metrics["members"]:
        name, plain, views = f"{member['run']} by itself", member["test/top1"], member["tta"]["test/top1"]
        assert f"{name}{plain:.2%}" in text
        assert f"{name}, mean over 2 views of each image (tta=flip){views:.2%}" in text
        assert f"{name}: top-1 {plain:.2%}, of 2 views {views:.2%}" in printed
    assert f"commit {both.metrics['git']['commit']}" in text


def test_every_class_has_a_row_the_least_recognised_first(found: Findings, page: Path) -> None:
    table = page.read_text().partition('aria-label="Classes"')[2].partition("</table>")[0]
    rows = re.findall(r'<tr><td>([^<]+)</td><td class="number" data-value="([^"]+)">', table)
    recalls = [float(recall) for _, recall in rows]
    assert sorted(name for name, _ in rows) == sorted(found.classes)
    assert recalls == sorted(recalls)
    assert recalls[-1] == float(found.scores.recall.max())


def test_pictures_lie_beside_the_page_and_on_tensorboard(found: Findings, page: Path) -> None:
    names = {"confusion", "superclass_confusion", "recall", "reliability", "mistakes", "hardest"}
    pictures = {path.stem: Image.open(path) for path in (page.parent / "figures").iterdir()}
    assert set(pictures) == names
    assert all(len(picture.convert("L").getcolors(256) or []) > 5 for picture in pictures.values())  # none is empty
    (events,) = (page.parent / "tensorboard").glob("events*")
    board = EventAccumulator(str(events)).Reload()
    assert set(board.Tags()["images"]) == {f"test/{name}" for name in names}
    plugins = {tag: board.SummaryMetadata(tag).plugin_data.plugin_name for tag in board.Tags()["tensors"]}
    curves = {tag for tag, plugin in plugins.items() if plugin == "pr_curves"}
    assert curves == {f"test/{name}" for name in found.dataset.superclasses}


def test_the_map_of_the_images_can_be_opened_in_the_projector(found: Findings, page: Path) -> None:
    (vectors,) = (page.parent / "tensorboard").glob("**/tensors.tsv")
    rows = [line.split("\t") for line in vectors.read_text().splitlines()]
    names = (vectors.parent / "metadata.tsv").read_text().splitlines()
    assert found.features is not None
    assert len(rows) == len(names) - 1 == len(found.features[1]) == 500
    assert {len(row) for row in rows} == {50}
    assert names[0].split("\t") == ["class", "taken for", "superclass"]
    assert Image.open(vectors.parent / "sprite.png").size[0] >= 32 * 500**0.5 - 32


def test_a_second_evaluation_takes_the_place_of_the_first(found: Findings, page: Path) -> None:
    before = sorted(path.relative_to(page.parent) for path in page.parent.rglob("*") if "events" not in path.name)
    write_evaluation(found, page.parent)
    after = sorted(path.relative_to(page.parent) for path in page.parent.rglob("*") if "events" not in path.name)
    assert before == after
    assert len(list((page.parent / "tensorboard").glob("events*"))) == 1


def test_the_numbers_alone_are_quick_to_have(found: Findings, tmp_path: Path) -> None:
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers" / "report.html").write_text("of another evaluation")
    assert write_evaluation(found, tmp_path / "numbers", report=False).name == "metrics.json"
    assert [path.name for path in (tmp_path / "numbers").iterdir()] == ["metrics.json"]
    stated = json.loads((tmp_path / "numbers" / "metrics.json").read_text())
    assert stated["test/top1"] == found.metrics["test/top1"]


def test_what_is_not_an_evaluations_is_left_alone(found: Findings, tmp_path: Path) -> None:
    folder = found.members[0].folder.path
    with pytest.raises(UserError, match=r"to: .* is a run's folder; leave to out"):
        write_evaluation(found, folder)
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events").write_text("dear")
    with pytest.raises(UserError, match=r"to: .* holds a tensorboard/ that no evaluation made"):
        write_evaluation(found, tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["events"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def drawn(browser: Browser) -> dict[str, int]:
    """Marks in each chart: points, bars, or the picture of a heat map."""
    return browser.evaluate(  # type: ignore[no-any-return]
        "Object.fromEntries([...document.querySelectorAll('.chart')].map(chart => [chart.id,"
        " chart.querySelectorAll('.point, .heatmaplayer image').length]))"
    )


CHARTS = {"curve-loss", "curve-top1", "confusion", "reliability", "confidence", "corruptions"}


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_a_browser_draws_every_chart_without_an_error(page: Path, browser: Browser, width: int, dark: bool) -> None:
    browser.open(page, width, dark=dark)
    assert browser.errors == []
    assert {name for name, marks in drawn(browser).items() if marks} == CHARTS
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert not [asked for asked in browser.requests if not asked.startswith(("file:", "data:"))]


def choose(browser: Browser, select: str, value: str) -> None:
    browser.evaluate(
        f"(() => {{ const it = document.getElementById('{select}'); it.value = '{value}';"
        " it.dispatchEvent(new Event('change')); })()"
    )


def shown(browser: Browser) -> Any:
    """The heat map that is shown: its size, what its first cell says, and the rows in view."""
    return browser.evaluate(
        "(() => { const it = document.getElementById('confusion'); const trace = it.data[0];"
        " return [it.data.length, trace.z.length, trace.text[0][1], it.layout.yaxis.range,"
        "  trace.customdata.flat().reduce((a, b) => a + b), it.layout.yaxis.ticktext.length]; })()"
    )


def test_the_confusion_shows_what_is_chosen(page: Path, browser: Browser, found: Findings) -> None:
    browser.open(page, 1280)
    mistakes = int((~found.scores.right).sum())
    order = [found.classes[place].replace("_", " ") for place in found.by_superclass]
    assert shown(browser) == [1, 100, f"{order[0]} taken for {order[1]}", [99.5, -0.5], mistakes, 20]
    choose(browser, "confusion-cells", "all")
    assert shown(browser)[4] == 500
    choose(browser, "confusion-of", "superclasses")
    assert shown(browser)[1] == 20
    assert shown(browser)[4] == 500
    choose(browser, "confusion-of", "superclass-2")
    assert [shown(browser)[place] for place in (1, 3, 5)] == [100, [14.5, 9.5], 5]
    assert browser.errors == []


def test_the_gallery_shows_what_is_chosen(page: Path, browser: Browser, found: Findings) -> None:
    browser.open(page, 1280)
    cards = (
        "[...document.querySelectorAll('.card')].filter(card => !card.hidden)"
        ".map(card => card.querySelector('strong').textContent)"
    )
    scores = found.scores
    surest = max((~scores.right).nonzero().flatten().tolist(), key=lambda place: float(scores.confidence[place]))
    assert len(browser.evaluate(cards)) == 24
    assert browser.evaluate(cards)[0] == found.classes[int(scores.labels[surest])].replace("_", " ")
    choose(browser, "gallery-of", "3")
    of_one = {name.replace("_", " ") for name, each in zip(found.classes, found.superclass_names, strict=True)
              if each == found.dataset.superclasses[3]}  # fmt: skip
    assert set(browser.evaluate(cards)) <= of_one
    assert len(browser.evaluate(cards)) == 8
    choose(browser, "gallery-by", "hard")
    assert set(browser.evaluate(cards)) <= of_one


def test_choices_are_made_with_the_keyboard_alone(page: Path, browser: Browser) -> None:
    browser.open(page, 1280)
    browser.evaluate("document.getElementById('confusion-cells').focus()")
    browser.press("ArrowDown", 40)
    assert browser.evaluate("document.getElementById('confusion-cells').value") == "all"
    assert shown(browser)[4] == 500
    browser.evaluate("document.querySelector('[aria-label=Classes] th:nth-child(2) button').focus()")
    browser.press("Enter", 13)
    sort = "document.querySelector('[aria-label=Classes] th:nth-child(2)').getAttribute('aria-sort')"
    assert browser.evaluate(sort) == "descending"


def test_images_without_superclasses_make_a_page_too(found: Findings, tmp_path: Path, browser: Browser) -> None:
    from dataclasses import replace

    plain = replace(found.dataset, superclasses=[], superclass_of=None)
    scores = replace(found.scores, superclass_confusion=None)
    metrics = {name: value for name, value in found.metrics.items() if "superclass" not in name}
    browser.open(write_evaluation(replace(found, dataset=plain, scores=scores, metrics=metrics), tmp_path), 1280)
    assert browser.errors == []
    assert {name for name, marks in drawn(browser).items() if marks} == CHARTS
    assert browser.evaluate("document.getElementById('gallery-of').options.length") == 101


HOSTILE = "</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"


def test_nothing_in_a_run_gets_out_of_its_place(found: Findings, tmp_path: Path, browser: Browser) -> None:
    from dataclasses import replace

    classes = [HOSTILE, *found.dataset.classes[1:]]
    superclasses = [HOSTILE, *found.dataset.superclasses[1:]]
    dataset = replace(found.dataset, classes=classes, superclasses=superclasses)
    page = write_evaluation(replace(found, dataset=dataset), tmp_path)
    browser.open(page, 1280)
    assert [error for error in browser.errors if "figures" not in error] == []
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert HOSTILE in Read(page).text
