from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from bananas_topology.render.names import MAX_LABEL, dns_label, label_value

texts = st.one_of(st.text(), st.text("abZ019-_.", max_size=100))


@given(texts, st.integers(min_value=12, max_value=63))
def test_any_text_gives_a_valid_dns_label(text: str, limit: int) -> None:
    name = dns_label(text, limit)

    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= limit
    assert dns_label(name, limit) == name


@given(texts)
def test_any_text_gives_a_valid_label_value(text: str) -> None:
    value = label_value(text)

    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", value)
    assert len(value) <= MAX_LABEL


@given(texts, texts)
def test_different_texts_give_different_names(one: str, other: str) -> None:
    assert (dns_label(one) == dns_label(other)) == (one == other)
