"""From finished runs to the pictures of docs/dashboards.md: TensorBoard's pages as headless Chromium draws them.

    python benchmarks/dashboard_pictures.py runs=FOLDER

In FOLDER lie `augmented` and `unaugmented`, the runs of docs/dashboards.md, which says how they are made.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "tests")]
from browser import Browser
from served import DEEP, tensorboard, wait_for

from vgg_cifar.command_line import guard, key_values
from vgg_cifar.runs.folder import RunFolder

PICTURES = PROJECT / "docs" / "images" / "dashboard"
CUSTOM = "#custom_scalars&_smoothingWeight=0"
ALL_POINTS = (("paper-checkbox", "if (e.innerText.includes('outliers')) e.checked = false"),)
LEGENDS = (*ALL_POINTS, ("button.heading", "if (e == found[0]) e.click()"), (".toggle-matches-button", "e.click()"))


@dataclass(frozen=True)
class Page:
    """What is to be seen: of which run, at which size, once how many elements match a selector, after what is done."""

    run: str
    address: str
    size: tuple[int, int]
    shown: tuple[str, int]
    done: tuple[tuple[str, str], ...] = ()


PAGES = {
    "custom_scalars": Page("augmented", CUSTOM, (1120, 1020), ("path.line", 20), ALL_POINTS),
    "superclasses": Page("augmented", CUSTOM, (1120, 1210), ("path.line", 20), LEGENDS),
    "histograms": Page("augmented", "#histograms&tagFilter=features.(0|17|40)$", (1280, 880), ("g.histogram", 60)),
    "images": Page("augmented", "#images", (900, 620), ("img", 1)),
    "time_series": Page(
        ".", "?tagFilter=^(train|val)/(loss|top1)&smoothing=0#timeseries", (1400, 980), ("line-chart", 4)
    ),
    "hparams": Page(".", "#hparams", (1400, 520), ("vaadin-grid-cell-content", 20)),
}


def main() -> None:
    given = key_values(sys.argv[1:], {"runs": None})
    runs = Path(str(given["runs"])).absolute()
    for name in ("augmented", "unaugmented"):
        RunFolder.existing(runs / name, "runs")
    PICTURES.mkdir(exist_ok=True)
    for run in ("augmented", "."):
        with tensorboard((runs / run).resolve()) as address, Browser() as browser:
            for name, page in PAGES.items():
                if page.run == run:
                    take(browser, address, page, PICTURES / f"{name}.png")


def take(browser: Browser, address: str, page: Page, to: Path) -> None:
    """Write a picture in 64 colours."""
    browser.open("about:blank", *page.size)
    browser.open(address + page.address, *page.size)
    wait_for(browser, *page.shown)
    for selector, what in page.done:
        browser.evaluate(DEEP % (json.dumps(selector), f"found.forEach(e => {{ {what} }})"))
    time.sleep(3)  # until what moves stands still
    browser.screenshot(to)
    with Image.open(to) as picture:
        picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(to, optimize=True)
    print(f"{to.relative_to(PROJECT)}  {to.stat().st_size // 1000} kB")


if __name__ == "__main__":
    guard(main, __doc__)
