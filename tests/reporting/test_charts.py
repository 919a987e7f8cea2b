"""Texts in charts, which plotly would read as markup."""

import html

from hypothesis import given
from hypothesis import strategies as st

from vgg_cifar.reporting.charts import text


@given(st.text(max_size=50))
def test_a_text_holds_no_markup_and_says_the_same(words: str) -> None:
    escaped = text(words)
    assert not set("<>") & set(escaped)
    assert html.unescape(escaped) == html.unescape(html.escape(words, quote=False))


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert text("<" * 10, most=3) == "&lt;&lt;…"
