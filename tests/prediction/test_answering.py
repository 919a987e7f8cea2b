"""The command: a folder of pictures of every kind, and every way to end."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import PROJECT
from PIL import Image
from scripts import script
from torch import Tensor

from vgg_cifar.command_line import guard
from vgg_cifar.prediction import answering
from vgg_cifar.prediction.files import Source
from vgg_cifar.prediction.predictor import Predictor
from vgg_cifar.runs.folder import RunFolder


class Said(NamedTuple):
    code: int
    out: str
    err: str


Predict = Callable[..., Said]


@pytest.fixture
def predict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trained: RunFolder, predictor: Predictor
) -> Predict:
    """Type `python src/predict.py run=... ...` in this process."""

    def start(*words: str, run: str = f"{trained.path}") -> Said:
        monkeypatch.setattr(sys, "argv", ["predict.py", f"run={run}", *words])
        with pytest.raises(SystemExit) as ended:
            guard(script("predict").main)
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, *capsys.readouterr())

    return start


def scene(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return Image.fromarray(np.stack([255 * x, 255 * y**2, 127 + 127 * np.sin(5 * x + 9 * y)], 2).astype(np.uint8))


def mixed_folder(folder: Path) -> None:
    """Pictures of every kind, those that should look alike under names that begin alike, and what is no picture."""
    folder.mkdir()
    upright = scene(96, 64)
    upright.save(folder / "scene-png.png")
    upright.save(folder / "scene-webp.webp", lossless=True)
    notes = Image.Exif()
    notes[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "scene-turned.png", exif=notes)
    upright.save(folder / "close-jpeg.jpg", quality=98, subsampling=0)
    upright.convert("CMYK").save(folder / "close-cmyk.jpg", quality=98, subsampling=0)
    upright.resize((5472, 3648)).save(folder / "close-20-megapixels.jpg", quality=95)
    clear = upright.convert("RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.linspace(255, 0, 96).astype(np.uint8), (64, 1))))
    clear.save(folder / "clear-rgba.png")
    flat = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    flat.convert("RGB").save(folder / "clear-flat.png")
    grey = upright.convert("L")
    grey.save(folder / "grey-8.png")
    Image.fromarray(np.array(grey).astype(np.uint16) * 257).save(folder / "grey-16.png")
    Image.fromarray(np.array(grey).astype(np.uint16) * 256).save(folder / "near-grey-16.tif")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    (folder / "cut.jpg").write_bytes((folder / "close-jpeg.jpg").read_bytes()[:1500])
    (folder / "\x1b[31mred.png").write_bytes(b"")


def test_in_a_mixed_folder_the_good_are_answered_and_the_bad_named(predict: Predict, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    mixed_folder(folder)
    said = predict(f"images={folder}", "format=json", "top=100")
    assert said.code == 1
    assert sorted(said.err.splitlines()) == [
        rf"{folder}/\x1b[31mred.png: it is empty",
        f"{folder}/cut.jpg: it is cut off",
        f"{folder}/empty.png: it is empty",
        f"{folder}/text.png: it is no image of a known kind",
    ]
    found = {
        Path(each["file"]).name: {one["class"]: one["probability"] for one in each["predictions"]}
        for each in json.loads(said.out)
    }
    assert len(found) == 11
    for names in (("scene-png.png", "scene-webp.webp", "scene-turned.png"), ("clear-rgba.png", "clear-flat.png"),
                  ("grey-8.png", "grey-16.png")):  # fmt: skip
        for name in names[1:]:
            assert found[name] == pytest.approx(found[names[0]], abs=2e-6, rel=0), name

    def apart(one: str, other: str) -> float:
        return sum(abs(found[one][each] - found[other][each]) for each in found[one]) / 2

    least = min(apart("scene-png.png", "clear-flat.png"), apart("scene-png.png", "grey-8.png"))
    for name in ("close-jpeg.jpg", "close-cmyk.jpg", "close-20-megapixels.jpg"):
        assert apart(name, "scene-png.png") < least / 4, name
    assert apart("near-grey-16.tif", "grey-8.png") < least / 4


@pytest.fixture
def some(tmp_path: Path, noise: Tensor) -> Path:
    """A folder of ten images."""
    for place, image in enumerate(noise[:10]):
        (tmp_path / "some").mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "some" / f"{place}.png")
    return tmp_path / "some"


def test_answers_what_python_is_answered(predict: Predict, predictor: Predictor, some: Path, noise: Tensor) -> None:
    said = predict(f"images={some}/*.png", "format=csv", "top=2")
    assert (said.code, said.err) == (0, "")
    expected = [
        (f"{some}/{place}.png", name, pytest.approx(probability, abs=2e-6))
        for place, each in enumerate(predictor.predict(noise[:10]))
        for name, probability in each.top(2)
    ]
    rows = csv.DictReader(io.StringIO(said.out))
    assert [(row["file"], row["class"], float(row["probability"])) for row in rows] == expected


def test_a_table_by_default(predict: Predict, some: Path) -> None:
    said = predict(f"images={some}/0.png,{some}/1.png")
    heading, first, second = said.out.splitlines()
    assert heading.startswith("file")
    assert first.startswith(f"{some}/0.png")
    assert first.count("%") == second.count("%") == 5


@pytest.mark.parametrize(
    ("words", "starts"), [((), "file,rank"), (("format=json",), "["), (("format=table",), "file ")]
)
def test_a_file_has_what_its_name_says_or_what_was_asked_for(
    predict: Predict, some: Path, tmp_path: Path, words: tuple[str, ...], starts: str
) -> None:
    said = predict(f"images={some}", f"to={tmp_path}/found.csv", *words)
    assert (said.code, said.err) == (0, "")
    assert said.out == f"{tmp_path}/found.csv: 10 of 10 images\n"
    assert (tmp_path / "found.csv").read_text().startswith(starts)


def test_if_nothing_can_be_read_the_answer_is_empty_and_whole(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    said = predict(f"images={tmp_path}/a.png", "format=json")
    assert (said.code, json.loads(said.out), said.err) == (1, [], f"{tmp_path}/a.png: it is empty\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("images=nowhere",), "images: nothing matches nowhere"),
        ((), "images: which ones?"),
        (("images=.", "top=0"), "top: should be greater than or equal to 1, is 0"),
        (("images=.", "top=many"), "top: should be a valid integer, is 'many'"),
        (("images=.", "format=jsn"), "format: should be 'table', 'json' or 'csv', is 'jsn'"),
        (("images=.", "to=nowhere/a.csv"), "nowhere/a.csv cannot be written; name a file in a folder that exists"),
        (("images=src/predict.py", "to=src/predict.py"), "src/predict.py is one of the images"),
        (("images=src/predict.py", "checkpoint=second"), "checkpoint: there is no "),
        (("images=src/predict.py", "checkpoint=~nobody-of-this-name/x"), "checkpoint: there is no "),
        (("images=a.png", "images=b.png"), "images: was given more than once"),
        (("image=.",), "image=.: expected run=..., images=..."),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(
    predict: Predict, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], line: str
) -> None:
    monkeypatch.chdir(PROJECT)
    said = predict(*words)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("error: ")
    assert line in said.err


def test_a_run_has_to_be_there(predict: Predict) -> None:
    assert "run: there is no run in " in predict("images=.", run="nowhere").err


def test_answers_come_while_others_are_still_read(
    predictor: Predictor, some: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answering, "BATCH", 4)
    sources = [Source(f"{some}/{place}.png") for place in range(10)]
    said: list[int] = []
    read = answering.images.read
    monkeypatch.setattr(answering.images, "read", lambda name: said.append(len(capsys.readouterr().out)) or read(name))
    assert answering.answer(predictor, sources, "csv", 1) == 0
    assert [place for place, length in enumerate(said) if length] == [0, 4, 8]


def test_ctrl_c_ends_in_a_line_and_leaves_no_file(
    predictor: Predictor,
    some: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def pressed(name: str) -> Tensor:
        if name.endswith("7.png"):
            raise KeyboardInterrupt
        return torch.zeros(3, 32, 32, dtype=torch.uint8)

    monkeypatch.setattr(answering, "BATCH", 4)
    monkeypatch.setattr(answering.images, "read", pressed)
    sources = [Source(f"{place}.png") for place in range(10)]
    for to in (None, tmp_path / "found.csv"):
        assert answering.answer(predictor, sources, "csv", 1, to) == 75
        said = capsys.readouterr()
        assert said.err == "interrupted: 4 of 10 images answered\n"
        assert len(said.out.splitlines()) == (5 if to is None else 0)
    assert not [each for each in tmp_path.iterdir() if each != some]


def start(*words: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, PROJECT / "src/predict.py", *words], **options)  # type: ignore[call-overload, no-any-return]


def test_a_reader_that_leaves_early_and_names_through_a_pipe(trained: RunFolder, some: Path) -> None:
    names = "".join(f"{some}/{place % 10}.png\n" for place in range(2000)).encode()
    process = start(
        f"run={trained.path}", "images=-", "top=100", "format=csv",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.write(names)
    process.stdin.close()
    assert process.stdout.readline() == b"file,rank,class,superclass,probability\n"
    process.stdout.close()
    assert (process.wait(120), process.stderr.read()) == (0, b"")


def test_an_image_through_a_pipe(predict: Predict, some: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (some / "3.png").open("rb") as image:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(image))
        piped = json.loads(predict("images=-", "format=json").out)
    (expected,) = json.loads(predict(f"images={some}/3.png", "format=json").out)
    assert piped == [expected | {"file": "-"}]


def test_a_bar_with_the_time_left_where_a_person_waits(
    predictor: Predictor, some: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answering, "PATIENCE", -1.0)
    monkeypatch.setattr(answering, "REFRESH_SECONDS", 0.0)
    sources = [Source(f"{some}/{place}.png") for place in range(10)]
    assert answering.answer(predictor, sources, "csv", 1) == 0
    quiet = capsys.readouterr()
    assert quiet.err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes what it writes to for a terminal
    monkeypatch.setenv("COLUMNS", "80")
    assert answering.answer(predictor, sources, "csv", 1) == 0
    shown = capsys.readouterr()
    assert "5/10" in shown.err
    assert "left" in shown.err
    assert shown.out == quiet.out
