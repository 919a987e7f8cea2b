"""From finished runs to the pictures of docs/dashboards.md: TensorBoard's pages as headless Chromium draws them.

    python benchmarks/dashboard_pictures.py runs=FOLDER

In FOLDER lie `augmented` and `unaugmented`, the runs of docs/dashboards.md, which says how they are made.
"""

import sys
import time
from pathlib import Path

from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "tests")]
from browser import Browser
from served import tensorboard, wait_for

from vgg_cifar.command_line import guard, key_values
from vgg_cifar.runs.folder import RunFolder

PICTURES = PROJECT / "docs" / "images" / "dashboard"
RAW = "&_smoothingWeight=0"
PAGES = {
    # name of the picture: (run, or all of them), page, width and height, what has to be there, how often, seconds more
    "custom_scalars": ("augmented", f"#custom_scalars{RAW}", 1120, 1480, "path.line", 20, 2),
    "histograms": ("augmented", "#histograms&tagFilter=features.(0|17|40)$", 1400, 900, "g.histogram", 60, 2),
    "images": ("augmented", "#images", 900, 520, "img", 1, 2),
    "time_series": (".", "?tagFilter=^(train|val)/(loss|top1)&smoothing=0#timeseries", 1400, 800, "line-chart", 4, 4),
    "hparams": (".", "#hparams", 1400, 520, "vaadin-grid-cell-content", 20, 3),
}


def main() -> None:
    given = key_values(sys.argv[1:], {"runs": None})
    runs = Path(str(given["runs"]))
    for name in ("augmented", "unaugmented"):
        RunFolder.existing(runs / name, "runs")
    PICTURES.mkdir(exist_ok=True)
    for folder in ("augmented", "."):
        with tensorboard(runs / folder) as address, Browser() as browser:
            for name, (run, page, width, height, selector, count, seconds) in PAGES.items():
                if run == folder:
                    browser.open("about:blank", width, height)
                    browser.open(address + page, width, height)
                    wait_for(browser, selector, count)
                    time.sleep(seconds)  # until what moves stands still
                    to = PICTURES / f"{name}.png"
                    browser.screenshot(to)
                    with Image.open(to) as picture:
                        picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(to, optimize=True)
                    print(f"{to.relative_to(PROJECT)}  {to.stat().st_size // 1000} kB")


if __name__ == "__main__":
    guard(main)
