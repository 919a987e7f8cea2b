"""Records of runs, and that the page of results says what they say."""

import json
from collections.abc import Callable

import pytest

from vgg_cifar import results
from vgg_cifar.data.options import PROJECT
from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import RunFolder

PAGE = "before\n<!-- table -->\nold\n<!-- end of table -->\nbetween\n<!-- sources -->\n<!-- end of sources -->\nafter\n"


@pytest.fixture
def committed(train: Callable[..., RunFolder]) -> RunFolder:
    """A finished run of code that a commit holds."""
    folder = train("monitor_test=true")
    manifest = folder.read_manifest()
    folder.write_manifest(manifest | {"git": {"commit": "0123456789abcdef", "dirty": False}})
    return folder


def test_a_record_holds_the_result_the_curves_and_what_made_them(committed: RunFolder) -> None:
    made = results.record(committed, "on a train")
    assert made["result"] == committed.read_result()
    assert [row["epoch"] for row in made["epochs"]] == [1, 2]
    tested = made["epochs"][made["result"]["tested_epoch"] - 1]
    assert tested["test/top1"] == pytest.approx(made["result"]["test/top1"])
    assert made["commits"] == ["0123456789abcdef"]
    assert json.loads(json.dumps(made)) == made


def test_the_page_says_what_the_records_say_and_keeps_the_rest(committed: RunFolder) -> None:
    made = results.record(committed, "on a train")
    page = results.fill_in(PAGE, [made])
    result = made["result"]
    row = next(line for line in page.splitlines() if line.startswith("| `train`"))
    for cell in (f"**{result['test/top1']:.2%}**", f"{result['test/top5']:.2%}", "| 2 |", "| 3 x |"):
        assert cell in row
    for words in (
        "before\n",
        "\nbetween\n",
        "\nafter\n",
        "commit 0123456,",
        "on a train",
        ".venv/bin/python src/train.py data=",
    ):
        assert words in page
    assert "old" not in page
    assert results.fill_in(page, [made]) == page


@pytest.mark.parametrize("page", ["nothing\n", "<!-- table -->\nold\n", "<!-- sources -->\nold\n"])
def test_a_page_without_markers_or_with_half_of_one_is_refused(page: str) -> None:
    with pytest.raises(UserError, match="the page lacks the line <!-- "):
        results.fill_in(page, [])


def test_only_a_finished_run_of_committed_code_makes_a_record(committed: RunFolder) -> None:
    manifest = committed.read_manifest()
    committed.write_manifest(manifest | {"git": {"commit": "0123", "dirty": True}})
    with pytest.raises(UserError, match="no commit holds"):
        results.record(committed)
    committed.write_manifest(manifest)
    committed.write_result(committed.read_result() | {"status": "failed"})
    with pytest.raises(UserError, match="is failed"):
        results.record(committed)


@pytest.mark.parametrize("path", ["README.md", "docs/results.md"])
def test_the_pages_say_what_the_records_say(path: str) -> None:
    page = (PROJECT / path).read_text()
    found = results.read(PROJECT / "docs" / "records")
    assert found
    assert results.fill_in(page, found) == page
