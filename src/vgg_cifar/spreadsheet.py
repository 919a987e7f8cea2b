"""What a program that opens a table takes a text for: a number, or a formula that it would compute."""

from __future__ import annotations

import math


def is_number(text: str) -> bool:
    """Whether a text says a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def cell(value: object) -> str:
    """A text that no spreadsheet takes for a formula, and that holds no zero byte; None is empty."""
    words = "" if value is None else str(value).replace("\0", "")
    risky = words.lstrip()[:1] in ("=", "+", "-", "@") or words[:1] in ("\t", "\r")
    return f"'{words}" if risky and words and not is_number(words) and words != "-" else words
