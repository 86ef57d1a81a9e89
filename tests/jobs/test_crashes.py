from __future__ import annotations

import pytest

from bananas_topology.jobs.crashes import Crash, crash_history, is_poison

SHARED = Crash.parse(b"1795534438507|reborn|shared|w|0")
ALONE = Crash.parse(b"1795534439000|reaped|alone|w-1")


def test_a_crash_is_read_as_it_is_stored() -> None:
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
def test_poison_has_crashed_often_enough_and_alone_the_last_time(
    crashes: tuple[Crash, ...], max_crashes: int, expected: bool
) -> None:
    assert is_poison(crashes, max_crashes) is expected


def test_the_story_of_a_poison_job_names_when_where_and_how() -> None:
    told = crash_history((SHARED, ALONE))

    assert told.startswith("the job crashed its worker 2 times: 2026-11-24T15:33:58.507000Z w|0")
    assert told.endswith("w-1 (reaped), alone")
