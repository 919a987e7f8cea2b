"""TensorBoard's pages of a run, as a browser draws them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from conftest import TINY
from PIL import Image
from served import DEEP, tensorboard, texts, wait_for

from vgg_cifar.composition import compose_and_check
from vgg_cifar.runs.custom_scalars import TRAINING
from vgg_cifar.runs.folder import RunFolder

A_LINE = "e.getAttribute('d').includes('L')"  # from one point to another, not a point alone


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from vgg_cifar.training import run

    typed = [*TINY, "logger=tensorboard", "logger.images=8", "trainer.max_epochs=3", "trainer.log_every_n_steps=1"]
    typed += ["data.val_fraction=0.5"]  # some of every superclass
    folder = RunFolder(tmp_path_factory.mktemp("dashboard") / "run")
    assert run(compose_and_check(typed)[1], folder, typed) == 0
    with tensorboard(folder.path) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture
def show(address: str, browser: Browser) -> Iterator[Browser]:
    """The browser, by which a page is opened; nothing but this machine was asked for anything."""
    yield browser
    assert [each for each in browser.requests if not each.startswith((address, "data:", "blob:"))] == []


def test_time_series_draw_curves(address: str, show: Browser, tmp_path: Path) -> None:
    show.open(f"{address}?tagFilter=train/#timeseries", 1280)
    wait_for(show, "line-chart canvas", 3)
    shown = [each.replace("\n", "") for each in texts(show, "tb-truncated-path")]
    assert shown == ["train/loss", "train/step_loss", "train/top1"]
    end = time.monotonic() + 20
    while coloured(show, "line-chart canvas", tmp_path / "shot.png") < 3:
        assert time.monotonic() < end, "a chart is empty"


def test_scalars_draw_curves(address: str, show: Browser) -> None:
    show.open(f"{address}#scalars", 1280)
    wait_for(show, "path.line", 1, A_LINE)
    wait_for(show, "tf-scalar-card")


def test_custom_scalars_draw_every_chart_of_the_layout(address: str, show: Browser) -> None:
    show.open(f"{address}#custom_scalars", 1280, 2600)
    titles = [*TRAINING, *(f"superclasses {n} to {n + 4}" for n in (1, 6, 11, 16))]
    wait_for(show, ".heading-label.name", len(titles), "e.innerText.trim()")
    assert texts(show, ".heading-label.name") == titles
    wait_for(show, "path.line:not(.ghost *)", 8 + 4 * 5, A_LINE)


def test_images_are_shown(address: str, show: Browser) -> None:
    show.open(f"{address}#images", 1280)
    wait_for(show, "img", 1, "e.naturalWidth == 8 * 33 + 1")


def test_histograms_are_drawn(address: str, show: Browser) -> None:
    show.open(f"{address}#histograms", 1280)
    wait_for(show, "g.histogram path", 3, A_LINE)
    assert "batch_norm_scales/features.1" in texts(show, ".heading-label.name")


def test_hyperparameters_are_tabled(address: str, show: Browser) -> None:
    show.open(f"{address}#hparams", 1280)
    wait_for(show, "vaadin-grid-cell-content", 1, "e.innerText.trim() == 'standard'")
    assert {"augmentation", "test/top1"} <= set(texts(show, "vaadin-grid-cell-content"))


def coloured(browser: Browser, selector: str, shot: Path) -> int:
    """In how many of the elements that match a selector something is drawn that is not grey."""
    box = "found.map(e => e.getBoundingClientRect()).map(b => [b.left, b.top, b.right, b.bottom])"
    boxes = browser.evaluate(DEEP % (json.dumps(selector), box))
    browser.screenshot(shot)
    with Image.open(shot) as picture:
        parts = [np.asarray(picture.convert("RGB").crop(tuple(map(int, each)))).astype(int) for each in boxes]
    return sum(int((np.ptp(part, axis=-1) > 20).sum() > 20) for part in parts)
