from __future__ import annotations

import logging

import pytest

from bananas_topology.errors import RedisUnavailable
from bananas_topology.worker.exchange import RedisAvailability


def test_start_and_end_of_an_outage_are_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    availability = RedisAvailability()
    availability.succeeded()

    for _ in range(20):
        availability.failed(RedisUnavailable("gone"))
    was_down = availability.is_down
    availability.succeeded()
    availability.succeeded()

    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "connection lost",
        "connection restored",
    ]
    assert (was_down, availability.is_down) == (True, False)


def test_a_server_that_was_never_up_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    availability = RedisAvailability()

    availability.failed(RedisUnavailable("not reachable"))

    assert caplog.messages == ["waiting for Redis: not reachable"]
