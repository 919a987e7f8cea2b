"""From a finished run to the numbers and pictures of docs/evaluation.md.

    python benchmarks/evaluation.py run=FOLDER [data.root=FOLDER]

Evaluates the run as a user would, with everything there is, and on the clock; lets scikit-learn find each number again
from predictions.csv; photographs the page in headless Chromium. The table of the documentation and
docs/records/evaluation_cpu.json are made of that and of nothing else.
"""

import csv
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "tests")]
from browser import Browser
from PIL import Image
from served import tensorboard
from sklearn import metrics as judge
from sklearn.calibration import calibration_curve

from vgg_cifar import hardware
from vgg_cifar.command_line import guard, key_values
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.runs.manifest import now
from vgg_cifar.runs.placement import required

ASKED = ["tta=flip", "corruptions=500", "cost=true"]
PAGE = PROJECT / "docs" / "evaluation.md"
RECORD = PROJECT / "docs" / "records" / "evaluation_cpu.json"
PICTURES = PROJECT / "docs" / "images" / "evaluation"
BETWEEN = re.compile(r"(<!-- evaluation -->\n).*(<!-- end of evaluation -->)", re.DOTALL)


def main() -> None:
    given = key_values(sys.argv[1:], {"run": None, "data.root": None})
    folder = RunFolder.existing(required(given["run"]), "run")
    root = [f"data.root={given['data.root']}"] if given["data.root"] else []
    command = [sys.executable, str(PROJECT / "src" / "evaluate.py"), f"run={folder.path}", *root]
    with tempfile.TemporaryDirectory() as elsewhere:
        seconds = {"plain": clocked([*command, f"to={elsewhere}"]), "everything": clocked([*command, *ASKED])}
    found = json.loads((folder.evaluation / "metrics.json").read_text())
    again = found_again(folder.evaluation / "predictions.csv")
    manifest, result = folder.read_manifest(), folder.read_result()
    record = {
        "command": ["python", "src/evaluate.py", "run=...", *ASKED],
        "git": found["git"], "made": now(), "hardware": hardware.description(), "seconds": seconds,
        "largest_difference_to_scikit_learn": max(abs(found[name] - value) for name, value in again.items()),
        "found_again": sorted(again), "trained_by": manifest["overrides"], "trained_at": manifest["git"]["commit"],
        "seed": manifest["seed"], "stored_top1": result["test/top1"], "metrics": found,
    }  # fmt: skip
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    PAGE.write_text(BETWEEN.sub(lambda match: f"{match[1]}{table(record)}{match[2]}", PAGE.read_text()))
    photograph(folder.evaluation / "report.html")
    photograph_projector(folder)
    print(table(record))


def clocked(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return round(time.perf_counter() - start, 1)


def found_again(predictions: Path) -> dict[str, float]:
    """What scikit-learn and a few sums find in the table of predictions."""
    with predictions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    label, said = ([int(row[name]) for row in rows] for name in ("label", "predicted"))
    fine, coarse = ([row[name] for row in rows] for name in ("superclass", "predicted_superclass"))
    confidence, right = [float(row["confidence"]) for row in rows], [int(row["right"]) for row in rows]
    macro: dict[str, Any] = {"average": "macro", "zero_division": 0}
    found = {
        "test/top1": judge.accuracy_score(label, said),
        "test/top5": sum(row["class"] in [row[f"top{place}"] for place in range(1, 6)] for row in rows) / len(rows),
        "test/superclass_top1": judge.accuracy_score(fine, coarse),
        "test/macro_precision": judge.precision_score(label, said, **macro),
        "test/macro_recall": judge.recall_score(label, said, **macro),
        "test/macro_f1": judge.f1_score(label, said, **macro),
        "test/loss": -sum(math.log(float(row["label_probability"])) for row in rows) / len(rows),
        "test/ece": calibration_error(right, confidence),
    }
    return {name: float(value) for name, value in found.items()}


def calibration_error(right: list[int], confidence: list[float], bins: int = 15) -> float:
    """The mean distance of scikit-learn's calibration curve from the diagonal, weighted by the images of each bin."""
    accuracy, mean = calibration_curve(right, confidence, n_bins=bins)
    counts = [0] * bins
    for each in confidence:
        counts[max(0, math.ceil(each * bins) - 1)] += 1
    filled = [count for count in counts if count]
    gaps = abs(accuracy - mean)
    return float(sum(gap * count for gap, count in zip(gaps, filled, strict=True)) / len(confidence))


def table(record: dict[str, Any]) -> str:
    found, machine, seconds = record["metrics"], record["hardware"], record["seconds"]
    tta, bad, cost = found["tta"], found["corruptions"], found["cost"]
    speed, worst = cost["speed"], min(bad["top1"], key=lambda name: sum(bad["top1"][name]))
    confused = (f"{pair['class']} taken for {pair['taken_for']} ({pair['images']})" for pair in found["confused"][:3])

    def shares(*names: str) -> str:
        return " · ".join(f"{found[f'test/{name}']:.2%}" for name in names)

    rows = {
        "top-1, top-5, superclass": shares("top1", "top5", "superclass_top1"),
        "top-1 as the run stored it": f"{record['stored_top1']:.2%}",
        "macro precision, recall, F1": shares("macro_precision", "macro_recall", "macro_f1"),
        "loss": f"{found['test/loss']:.4f}",
        "expected calibration error": shares("ece"),
        f"top-1 over {tta['views']} views (`tta={tta['name']}`)": f"{tta['test/top1']:.2%}",
        f"top-1 of {bad['images']:,} images": f"{bad['clean_top1']:.2%}, corrupted {bad['mean_top1']:.2%}",
        "worst corruption": f"{worst.replace('_', ' ')}, {sum(bad['top1'][worst]) / 5:.2%} over its severities",
        "most often confused": "; ".join(confused),
        "one image alone": f"{speed['latency_ms_median']:.1f} ms",
        f"in batches of {speed['batch_size']:,}": f"{speed['images_per_second']:,.0f} images per second",
        "parameters, multiply-accumulates": f"{cost['parameters']:,} · {cost['macs']:,}",
        "all of this, with the page": f"{seconds['everything']:.0f} s",
        "without views, corruptions and cost": f"{seconds['plain']:.0f} s",
        f"largest difference to scikit-learn, {len(record['found_again'])} metrics":
            f"{record['largest_difference_to_scikit_learn']:.0e}",
    }  # fmt: skip
    lines = [
        f"`{' '.join(record['trained_by'])}`, seed {record['seed']}, trained at commit {record['trained_at'][:7]};",
        f"asked at {record['git']['commit'][:7]} on {machine['cpu']}, {machine['cores']} cores, {found['precision']},",
        f"`{' '.join(ASKED)}`:",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in rows.items()),
        "",
        "Made by `benchmarks/evaluation.py run=FOLDER`; all numbers are in "
        "[evaluation_cpu.json](records/evaluation_cpu.json).",
        "",
    ]
    return "\n".join(lines) + "\n"


def photograph(page: Path) -> None:
    """The parts of the page that the documentation shows, in 128 colours."""
    PICTURES.mkdir(exist_ok=True)
    shots = {
        "top": (1280, False, None), "confusion": (1280, False, "What is taken for what"),
        "classes": (1280, False, "Classes"), "mistakes": (1280, False, "Mistakes"),
        "dark": (1280, True, "Is its confidence true?"), "phone": (390, False, None),
    }  # fmt: skip
    with Browser() as browser:
        for name, (width, dark, heading) in shots.items():
            browser.open(page, width, dark=dark)
            find = f"[...document.querySelectorAll('h2')].find(each => each.textContent === {json.dumps(heading)})"
            top = 0 if heading is None else browser.evaluate(f"{find}.getBoundingClientRect().top + scrollY") - 24
            whole = PICTURES / f"{name}.png"
            browser.screenshot(whole)
            with Image.open(whole) as picture:
                bottom = min(picture.height, int(top) + (1000 if width > 600 else 1600))
                part = picture.convert("RGB").crop((0, int(top), picture.width, bottom))
            keep(part, whole)


def photograph_projector(folder: RunFolder) -> None:
    """TensorBoard's map of the images."""
    place = PICTURES / "projector.png"
    with tensorboard(folder.path) as address, Browser() as browser:
        browser.open("about:blank", 1300, 860)
        browser.open(f"{address}#projector", 1300, 860)
        time.sleep(20)  # it tells nobody when it is done
        browser.screenshot(place)
    with Image.open(place) as picture:
        whole = picture.convert("RGB")
    keep(whole, place)


def keep(picture: Image.Image, place: Path) -> None:
    """Write a picture in 128 colours."""
    picture.quantize(128, dither=Image.Dither.NONE).save(place, optimize=True)
    print(f"{place.relative_to(PROJECT)}  {place.stat().st_size // 1000} kB")


if __name__ == "__main__":
    guard(main, __doc__)
