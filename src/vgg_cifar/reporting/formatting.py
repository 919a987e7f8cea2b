"""Numbers and texts as a person reads them, in a table, a chart or the terminal."""

from __future__ import annotations

import re
from urllib.parse import quote

from vgg_cifar.comparison.comparison import is_loss
from vgg_cifar.comparison.statistics import Estimate
from vgg_cifar.options import spelled

FILTERS = ("score", "margin", "spread", "change", "p_value", "duration", "rate", "objective", "setting", "address",
           "short", "words")  # fmt: skip
"""Of these functions, those that a template may call."""
NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def score(value: float | None, metric: str) -> str:
    """A share as 53.21%, a loss as 1.2345."""
    if value is None:
        return NOTHING
    return f"{value:.4f}" if is_loss(metric) else f"{value:.2%}"


def margin(estimate: Estimate | None, metric: str) -> str:
    """Half an interval, as ± 0.41; nothing where there is none."""
    if estimate is None or estimate.half is None:
        return ""
    return f"± {estimate.half:.4f}" if is_loss(metric) else f"± {100 * estimate.half:.2f}"


def spread(value: float | None, metric: str) -> str:
    """A deviation, of shares in percentage points."""
    if value is None:
        return NOTHING
    return f"{value:.4f}" if is_loss(metric) else f"{100 * value:.2f}"


def change(value: float | None, metric: str) -> str:
    """A difference with its sign, of shares in percentage points."""
    if value is None:
        return NOTHING
    text = f"{value:+.4f}" if is_loss(metric) else f"{100 * value:+.2f}"
    return text.replace("-", MINUS)


def p_value(value: float | None) -> str:
    """A p-value to three digits, and no smaller than 0.001."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """A time as a person says it: 45 s, 12 min, 3 h 20 min."""
    if seconds is None:
        return NOTHING
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def rate(value: float | None) -> str:
    """Images per second."""
    return NOTHING if value is None else f"{value:,.0f}"


def objective(value: float | None, name: str) -> str:
    """What a search looks for, whatever that is: a share, a loss, seconds, images per second, a number."""
    if value is None or is_loss(name) or is_share(name):
        return score(value, name)
    if name.endswith("seconds"):
        return f"{value:.1f} s" if abs(value) < 100 else duration(value)
    return rate(value) if name == "images_per_second" else f"{value:,.5g}"


def is_share(name: str) -> bool:
    """Whether a metric is a fraction of the images, to be shown in percent."""
    return re.search(r"top\d+$", name) is not None


def setting(value: object) -> str:
    """An option's value in as many digits as a person compares."""
    return f"{value:.4g}" if isinstance(value, float) else spelled(value)


def address(path: str) -> str:
    """A path as a link to it; a folder's name is no scheme."""
    return "./" + quote(path.encode("utf-8", "replace"))


def words(name: str) -> str:
    """A class's name as a person writes it: aquarium fish."""
    return name.replace("_", " ")


def short(text: str, most: int = 160) -> str:
    """A text, or its beginning."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
