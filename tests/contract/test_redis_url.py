from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bananas_topology.contract.redis_url import (
    check_url,
    has_password,
    mask_urls,
    redact,
    redact_urls,
    secret_spans,
)

VALID = (
    "redis://localhost",
    "redis://db:6379/0",
    "redis:///1",
    "redis://[::1]:6379/0",
    "rediss://app:%2Fp%40ss@db:6380/2?ssl_cert_reqs=none",
    "redis://db/0?password=a@b",
    "unix:///run/redis.sock?db=1",
    "unix:///run/a@b.sock",
    "redis+sentinel://:pw@a:26379,b/shop/0?sentinel_password=x",
)


@pytest.mark.parametrize("url", VALID)
def test_a_valid_url_passes(url: str) -> None:
    assert check_url(url) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "expected redis://"),
        ("localhost:6379", "expected redis://"),
        ("http://db", "expected redis://"),
        ("redis//:hunter2@db", "expected redis://"),
        ("redis://", "expected redis://"),
        ("redis://u:hun/ter2@db", "percent-encode"),
        ("redis://:hun?ter2@db", "percent-encode"),
        ("redis://:hun#ter2@db", "percent-encode"),
        ("redis://:hunter2", "host or port"),
        ("redis://db:hunter2/0", "host or port"),
        ("redis://db:0", "host or port"),
        ("redis://[hunter2/0", "host or port"),
        ("redis://db/hunter2", "its database is not a number"),
        ("redis://db/0?hunter2=1", "unknown option"),
        ("redis://db/0?hunter2", "unknown option in its query"),
        ("redis://db/0?decode_responses=1", 'unknown option "decode_responses"'),
        ("redis://:hunter2\u2100@db", "host or port"),
        ("redis:// db", "white space"),
        ("unix://", "expected redis://"),
        ("redis+sentinel://a:1", "expected redis+sentinel://"),
        ("redis+sentinel://a:x/shop", "host or port"),
        ("redis+sentinel://a/shop/hunter2", "its database is not a number"),
    ],
)
def test_a_reason_says_what_is_wrong_without_showing_the_url(url: str, reason: str) -> None:
    found = check_url(url)

    assert found is not None
    assert reason in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "url",
    [
        "redis://app:hunter2@db:6379/0",
        "redis://:hunter2@db",
        "redis://hunter2@db",
        "redis//:hunter2@db",
        "redis:/:hunter2@db",
        "redis:hunter2@db",
        ":hunter2@db",
        "redis:hunter2",
        "redis://:hunter2",
        "redis://:hunter2:6379/0",
        "redis://db:hunter2/0",
        "redis://u:x/hunter2@db",
        "redis://u:hunter2/x@db",
        "redis://:x?hunter2@db",
        "redis://:x#hunter2@db",
        "redis://:x@hunter2@db",
        "redis://u:p?password=hunter2@db",
        "redis://u:hunter2?password=x@db",
        "redis://db/0?password=hunter2",
        "redis://db/0?password=x@hunter2",
        "redis://db/0?passwrd=x@hunter2",
        "redis://db/0?hunter2",
        "redis://db/0#hunter2",
        "redis://db/hunter2",
        "unix:///run/redis.sock?password=hunter2",
        "redis+sentinel://:hunter2@a:1,b:2/shop?sentinel_password=hunter2",
        "redis+sentinel://a:1,:hunter2@b:2/shop",
        "http://u:hunter2@db",
        "redis://:hunter2 @db",
        "db:6380,password=hunter2,ssl=True,abortConnect=False",
        "db:6380,ssl=True,password=hunt/hunter2+x=",
        "redis://db:6380,password=hunter2=",
    ],
)
def test_a_password_is_hidden_however_malformed_the_url(url: str) -> None:
    assert "hunter2" not in redact(url)
    assert has_password(url)


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:hunter2@db", "redis//:hunter2@db", "redis:/:hunter2@db", "//:hunter2@db"),
        *("://u:hunter2@db", ":hunter2@db", "redis:\\\\:hunter2@db", "redis:// :hunter2@db"),
        *("db:6380,password=hunter2=,ssl=True", "db:6380,ssl=True,Password=a/hunter2"),
    ],
)
def test_a_password_is_hidden_in_a_line_that_shows_a_malformed_url(url: str) -> None:
    line = f'redis: {{url: "{url}"}}'

    assert "hunter2" not in redact_urls(line)
    assert "hunter2" not in mask_urls(line)
    assert len(mask_urls(line)) == len(line)


@pytest.mark.parametrize(
    "line",
    [
        "image: reg:5000/a:1@sha256:ab",
        "to: a@example.com",
        "path: c:/x/y",
        "a: :b",
        "{a, password: b=c}",
    ],
)
def test_a_line_without_a_url_is_shown_as_it_is(line: str) -> None:
    assert mask_urls(line) == redact_urls(line) == line


@pytest.mark.parametrize("url", ["redis://db:6379/0", "localhost:6379", "redis://a", "redis//db/1"])
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert redact(url) == url


@given(
    st.sampled_from(("redis://", "rediss://", "redis//", "redis:/", "redis+sentinel://", "")),
    st.text("au0:/?#@%&=.,[]", max_size=8),
    st.text("au0:/?#@%&=.,[]", max_size=8),
)
def test_a_password_of_any_characters_before_a_host_is_hidden(
    lead: str, before: str, after: str
) -> None:
    url = f"{lead}user:{before}hunter2{after}@db:6379/0"

    assert "hunter2" not in redact(url)
    spans = list(secret_spans(url))
    assert spans == sorted(spans)
    assert "hunter2" not in (check_url(url) or "")
