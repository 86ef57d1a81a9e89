from __future__ import annotations

import json
import time

import pytest

from bananas_topology.local.metrics import Totals
from bananas_topology.worker.job_metrics import job_metrics
from bananas_topology.worker.metrics import TypeTally


def _report(enqueued: int, busy_s: float, **types: list[float]) -> str:
    return json.dumps({"worker": [enqueued, busy_s], "types": types})


def test_numbers_are_added_up_by_pool_and_over_restarts() -> None:
    totals = Totals()

    totals.take("a-0", "a", 1, _report(1, 2.0, mail=[1, 2]))
    totals.take("a-0", "a", 1, _report(2, 3.0, mail=[2, 2]))
    totals.take("a-1", "a", 2, _report(0, 1.0, mail=[10, 0]))
    totals.take("b-0", "b", 3, _report(0, 0.5))
    assert totals.read() == {("a", None): [2, 4], ("a", "mail"): [12, 2], ("b", None): [0, 0.5]}

    totals.take("a-0", "a", 4, _report(0, 0.0, other=[1, 1]))
    totals.take("a-0", "a", 4, _report(0, 0.1, mail=[1, 0]))
    totals.take("a-0", "a", 5, _report(0, 0.1, mail=[1, 0]))
    found = totals.read()
    assert found["a", "mail"] == [14, 2]
    assert found["a", "other"] == [1, 1]
    assert found["a", None] == pytest.approx([2, 4.2])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"worker": 1, "types": {}}', '{"worker": []}'])
def test_an_unreadable_report_is_ignored(text: str) -> None:
    totals = Totals()

    totals.take("a-0", "a", 1, text)

    assert totals.read() == {}


def test_a_tally_survives_the_way_to_the_supervisor() -> None:
    tally = TypeTally()
    tally.duration.observe(0.2)
    tally.wait.observe(4000.0)

    copied = TypeTally.of(tally.values())

    assert copied.values() == tally.values()
    with pytest.raises(ValueError, match="expected"):
        TypeTally.of(tally.values()[:-1])
    with pytest.raises(ValueError, match="expected"):
        TypeTally.of([1.0])


def test_the_metrics_of_fifty_workers_take_less_than_a_tenth_of_a_second() -> None:
    totals = Totals()
    tally = TypeTally()
    tally.duration.observe(0.2)
    types = {f"type-{number}": tally.values() for number in range(10)}
    for number in range(50):
        totals.take(f"a-{number}", "a", number, _report(0, 0.0, **types))

    def compute() -> float:
        started_at = time.process_time()
        read = totals.read()
        tallies = {(pool, str(kind)): TypeTally.of(v) for (pool, kind), v in read.items() if kind}
        assert len(list(job_metrics(tallies, {}))) == 6
        return time.process_time() - started_at

    assert min(compute() for _ in range(5)) < 0.1
