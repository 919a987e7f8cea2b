"""Every promise of SECURITY.md names tests that exist."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def test_every_promise_names_tests_that_exist() -> None:
    promises = [line for line in (PROJECT / "SECURITY.md").read_text().splitlines() if line.endswith("` |")]
    assert promises
    for promise in promises:
        named = re.findall(r"`([\w/.]*)::(\w+)`", promise)
        assert named, promise
        file = ""
        for written, name in named:
            file = written or file
            assert f"\ndef {name}(" in (PROJECT / file).read_text(), name
