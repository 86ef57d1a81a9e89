from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from bananas_topology.jobs.crashes import Crash, crash_history, is_poison

SHARED = Crash.parse(b"1795534438507|reborn|shared|w|0")
ALONE = Crash.parse(b"1795534439000|reaped|alone|w-1")


def test_a_stored_crash_is_parsed() -> None:
    assert (SHARED.how, SHARED.alone, SHARED.worker_id) == ("reborn", False, "w|0")
    assert ALONE.alone
    assert str(ALONE) == "2026-11-24T15:33:59.000000Z w-1 (reaped), alone"


@pytest.mark.parametrize(
    ("crashes", "max_crashes", "expected"),
    [
        ((), 1, False),
        ((SHARED,), 1, False),
        ((ALONE,), 1, True),
        ((SHARED, ALONE), 1, True),
        ((SHARED, SHARED, SHARED), 3, False),
        ((SHARED, ALONE), 3, False),
        ((SHARED, SHARED, ALONE), 3, True),
        ((SHARED, SHARED, ALONE, SHARED), 3, False),
    ],
)
def test_a_job_is_poison_after_enough_crashes_of_which_the_last_was_alone(
    crashes: tuple[Crash, ...], max_crashes: int, expected: bool
) -> None:
    claimed_at = ALONE.at + timedelta(minutes=1)
    assert is_poison(crashes, max_crashes, claimed_at, 15_000) is expected


def test_a_crash_counts_once_a_worker_whose_lease_expired_has_had_time_to_come_back() -> None:
    crashes = (replace(ALONE, how="reborn"), ALONE)

    assert not is_poison(crashes, 2, ALONE.at + timedelta(seconds=59), 15_000)
    assert is_poison(crashes, 2, ALONE.at + timedelta(seconds=60), 15_000)
    assert is_poison(crashes, 1, ALONE.at, 15_000)


def test_a_crash_history_has_time_worker_and_kind_of_each_crash() -> None:
    message = crash_history((SHARED, ALONE))

    assert message.startswith("the job crashed its worker 2 times: 2026-11-24T15:33:58.507000Z w|0")
    assert message.endswith("w-1 (reaped), alone")
