"""The figures of a worker are those of the last interval, with what runs and what is stuck."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator

import pytest

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.handler_modules import load_handlers
from bananas_topology.jobs.job import Claim
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.run import Run, bind_handlers
from bananas_topology.worker.settlement import PendingSettlements, Settler
from bananas_topology.worker.slots import Slots
from bananas_topology.worker.usage import UsageMeter, UsageReport
from tests.waiting import wait_for
from tests.worker import slot_jobs
from tests.worker.slot_jobs import GATES


@pytest.fixture
def slots() -> Iterator[Slots]:
    """Two slots, of which one runs a job until its gate opens."""
    handlers = bind_handlers(
        load_handlers((slot_jobs.__name__,)), WorkerConfig(worker_id="w", concurrency=2)
    )
    slots = Slots(2, handlers, Settler(random.random))
    GATES["a"] = threading.Event()
    body = b'{"id":"1","name":"gate","payload":"a"}'
    slots.submit([Run(Claim("1", body, b"t.1|normal|0"), time.monotonic())])
    wait_for(lambda: slots.running == 1)
    yield slots
    GATES.pop("a").set()
    wait_for(lambda: not (slots.running or slots.stuck))  # its end is logged


def _pause(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= until)


def test_a_running_job_counts_as_use_of_its_slot(slots: Slots) -> None:
    meter = UsageMeter(Tally(is_scraped=False), slots)
    before = meter.read()
    _pause(0.1)

    assert meter.read().utilization_since(before, 2) == pytest.approx(0.5, abs=0.05)


def test_an_interval_does_not_show_what_was_before_it(slots: Slots) -> None:
    tally = Tally(is_scraped=False)
    meter = UsageMeter(tally, slots)
    pending = PendingSettlements(tally)
    _pause(0.1)
    GATES["a"].set()

    def has_collected() -> bool:
        pending.add(slots.collect())
        return bool(pending.runs)

    wait_for(has_collected)

    before = meter.read()
    _pause(0.1)

    assert before.busy_s > 0.09
    assert meter.read().utilization_since(before, 2) == 0


def test_a_slot_that_a_timed_out_handler_holds_is_in_use(slots: Slots) -> None:
    meter = UsageMeter(Tally(is_scraped=False), slots)
    slots.interrupt_running()
    slots.settle_interrupted(at_once=True)
    assert (slots.running, slots.stuck) == (0, 1)
    before = meter.read()
    _pause(0.1)

    assert meter.read().utilization_since(before, 2) == pytest.approx(0.5, abs=0.05)


def test_the_report_has_the_fields_of_existing_dashboards(
    slots: Slots, caplog: pytest.LogCaptureFixture
) -> None:
    report = UsageReport(Tally(is_scraped=False), slots, 1)
    _pause(0.1)

    with caplog.at_level("INFO"):
        report.log()

    [record] = caplog.records
    assert record.message == "System metrics"
    fields = vars(record)
    assert float(fields["worker_utilization"].removesuffix("%")) > 90
    assert fields["error_rate"] == "0.00%"
    assert (fields["jobs_processed"], fields["jobs_completed"], fields["jobs_failed"]) == (0, 0, 0)
    assert fields["avg_duration_ms"] == 0
    assert re.fullmatch(r"\d+s", fields["uptime"])
