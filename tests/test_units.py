from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bananas_topology.units import (
    MAX_DURATION_MS,
    format_cpu,
    format_duration,
    format_memory,
    parse_cpu_millis,
    parse_duration_ms,
    parse_memory_bytes,
)


@given(st.integers(0, MAX_DURATION_MS))
def test_durations_round_trip(duration_ms: int) -> None:
    assert parse_duration_ms(format_duration(duration_ms)) == duration_ms


@given(st.integers(0, 2**50))
def test_memory_round_trips(memory_bytes: int) -> None:
    assert parse_memory_bytes(format_memory(memory_bytes)) == memory_bytes


@given(st.integers(0, 10**6))
def test_cpu_round_trips(cpu_millis: int) -> None:
    assert parse_cpu_millis(format_cpu(cpu_millis)) == cpu_millis


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("1.5h", 5_400_000), ("2h45m", 9_900_000), ("2m0s", 120_000), ("1ns", 1), ("1.0001s", 1001)],
)
def test_durations_are_parsed_as_in_go(text: str, duration_ms: int) -> None:
    assert parse_duration_ms(text) == duration_ms


@given(st.text() | st.sampled_from(["", "-1s", "1", "s", "1 s", "1d", "1e3s", "1.s", ".5s"]))
def test_invalid_text_is_rejected_with_what_was_expected(text: str) -> None:
    for parse in (parse_duration_ms, parse_memory_bytes, parse_cpu_millis):
        message = "expected"
        try:
            parse(text)
        except ValueError as error:
            message = str(error)
        assert message.startswith("expected")


@pytest.mark.parametrize("text", ["200000h" * 5, "9" * 18 + "h"])
def test_a_duration_above_the_maximum_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="at most 100 years"):
        parse_duration_ms(text)
