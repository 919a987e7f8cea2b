"""A page in one file: templates, styles, scripts and data together, so that it opens anywhere and asks nobody."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vgg_cifar.reporting import formatting

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, charts: Mapping[str, Any], **content: Any) -> str:
    """Fill in a template that extends `base.html`.

    Every text is escaped. Only the two scripts of this project's own choosing run: the page's policy names their
    checksums, and allows no address.

    Args:
        template: a file in `templates/`.
        charts: by the id of the element that shows it, a chart; see `charts`.
        content: what else the template asks for.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _filters()
    scripts = [Markup(_plotly()), Markup((TEMPLATES / "page.js").read_text(encoding="utf-8"))]
    sources = " ".join(f"'sha256-{_checksum(script)}'" for script in scripts)
    policy = f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    text = environment.get_template(template).render(
        policy=Markup(policy), scripts=scripts, style=style, charts=Markup(embedded(charts)), **content
    )
    return text.encode("utf-8", "replace").decode()  # a folder's text may hold half a character


def embedded(data: Any) -> str:
    """Data as JSON that no text in it can end, whatever surrounds it in a page."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _filters() -> dict[str, Callable[..., str]]:
    return {name: getattr(formatting, name) for name in formatting.FILTERS}


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _checksum(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
