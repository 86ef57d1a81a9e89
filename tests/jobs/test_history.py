from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import count, pairwise

import pytest
import redis

from bananas_topology.errors import ContractViolation
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.history import (
    NAME_LIMIT,
    PERIODS,
    HistoryFlush,
    HistoryReader,
    PeriodName,
    Totals,
    TypeCounts,
)
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.log_histogram import bucket_of, to_list
from bananas_topology.jobs.stored import to_text
from tests.jobs.support import Worker, count_round_trips

#: The most that the history may take, in bytes.
MAX_BYTES = 5_000_000

_tokens = (f"token-{number}" for number in count())


def _times(*seconds: float) -> list[int]:
    counts: dict[int, int] = {}
    for each in seconds:
        counts[bucket_of(each)] = counts.get(bucket_of(each), 0) + 1
    return to_list(counts)


def _counts(job_type: str, completed: int = 1, failed: int = 0, dead: int = 0) -> TypeCounts:
    runs = completed + failed
    return TypeCounts(job_type, completed, failed, dead, _times(*[0.1] * runs), _times(2.0))


def _flush(*counts: TypeCounts, pool: str = "default") -> HistoryFlush:
    return HistoryFlush.of(next(_tokens), pool, counts)


def _add(broker: Broker, flush: HistoryFlush, worker_id: str = "w-0") -> None:
    worker = Worker(broker, worker_id)
    reply = broker.heartbeat(worker.consumer, worker.incarnation, {}, boot=True, flush=flush)
    assert reply.flush_error is None


def _named(sums: Iterable[tuple[str | None, Totals]]) -> dict[str | None, tuple[int, int, int]]:
    return {name: (each.completed, each.failed, each.dead) for name, each in sums}


def _steps(client: redis.Redis, keys: Keys) -> list[str]:
    """The keys of the steps."""
    found = map(to_text, client.scan_iter(f"{keys.prefix}:history:*", count=1_000))
    return sorted(key for key in found if ":flushed:" not in key)


def _fill_periods(client: redis.Redis, keys: Keys) -> None:
    """Copy the step of each period to all others."""
    for period in PERIODS.values():
        [source] = [key for key in _steps(client, keys) if f":{period.step_s}:" in key]
        number = int(source.rpartition(":")[2])
        for age in range(1, period.steps + 1):
            client.copy(source, keys.history(period.step_s, number - age))


@pytest.mark.parametrize("name", PERIODS)
def test_counts_of_several_workers_add_up(
    client: redis.Redis, keys: Keys, name: PeriodName
) -> None:
    broker = Broker(client, keys)
    _add(broker, _flush(_counts("add", 5, 2, 1), _counts("sub", 1), pool="a"), "w-0")
    _add(broker, _flush(_counts("add", 3), pool="a"), "w-1")
    _add(broker, _flush(_counts("add", 1, 1), pool="b"), "w-2")

    history = HistoryReader(client, keys).read(name)

    assert _named(history.types) == {"add": (9, 3, 1), "sub": (1, 0, 0)}
    assert _named(history.pools) == {"a": (9, 2, 1), "b": (1, 1, 0)}
    assert [type_name for type_name, _ in history.types] == ["add", "sub"]
    assert sum(point.completed for _, point in history.points) == 10
    [(_, add), _] = history.types
    assert add.runs.percentiles([50, 99]) == pytest.approx([0.1, 0.1], rel=0.1)
    assert add.waits.percentiles([50, 99]) == pytest.approx([2.0, 2.0], rel=0.1)


@pytest.mark.parametrize("name", PERIODS)
def test_a_period_has_all_its_steps_up_to_now(
    client: redis.Redis, keys: Keys, name: PeriodName
) -> None:
    history = HistoryReader(client, keys).read(name)

    period = PERIODS[name]
    moments = [moment.timestamp() for moment, _ in history.points]
    assert [later - earlier for earlier, later in pairwise(moments)] == [period.step_s] * (
        period.steps - 1
    )
    assert moments[-1] <= history.until.timestamp() < moments[-1] + period.step_s
    assert {point.completed for _, point in history.points} == {0}
    assert (history.types, history.pools) == ([], [])


def test_points_are_of_one_type_or_pool_and_sums_of_all(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    _add(broker, _flush(_counts("add", 5), _counts("sub", 2), pool="a"))
    _add(broker, _flush(_counts("add", 3), pool="b"))
    reader = HistoryReader(client, keys)

    def completed(job_type: str | None, pool: str | None) -> int:
        history = reader.read("hour", job_type, pool)
        assert _named(history.types) == {"add": (8, 0, 0), "sub": (2, 0, 0)}
        return sum(point.completed for _, point in history.points)

    assert completed("add", None) == 8
    assert completed(None, "a") == 7
    assert completed("add", "a") == 5
    assert completed("sub", "b") == completed("", "") == completed("other", None) == 0


def test_counts_that_are_sent_again_count_once(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    first, second = _flush(_counts("add", 5)), _flush(_counts("add", 2))

    for flush in (first, first, second, second):
        _add(broker, flush)

    assert _named(HistoryReader(client, keys).read("hour").types) == {"add": (7, 0, 0)}


def test_steps_that_are_over_are_left_out_and_expire(client: redis.Redis, keys: Keys) -> None:
    _add(Broker(client, keys), _flush(_counts("add")))

    for period in PERIODS.values():
        [key] = [key for key in _steps(client, keys) if f":{period.step_s}:" in key]
        length_s = period.step_s * period.steps
        assert length_s < client.ttl(key) <= length_s + period.step_s
        number = int(key.rpartition(":")[2])
        client.rename(key, keys.history(period.step_s, number - period.steps - 1))
    for name in PERIODS:
        assert HistoryReader(client, keys).read(name).types == []
    assert 0 < client.ttl(keys.history_flushed("w-0")) <= 3600


@pytest.mark.parametrize(("spread", "runs"), [(0.5, 20), (1.5, 100), (4.0, 400)])
def test_the_history_takes_constant_space(
    client: redis.Redis, keys: Keys, spread: float, runs: int
) -> None:
    broker, chance = Broker(client, keys), random.Random(7)

    def times() -> list[int]:
        return _times(*(chance.lognormvariate(-2, spread) for _ in range(runs)))

    def add_twice() -> None:
        for pool in 2 * ("critical-jobs", "background-jobs"):
            types = [
                TypeCounts(f"accounts.job_number_{number}", runs, 7, 3, times(), times())
                for number in range(200)
            ]
            _add(broker, _flush(*types, pool=pool))

    add_twice()
    while len(_steps(client, keys)) > len(PERIODS):  # another step has begun meanwhile
        client.delete(*_steps(client, keys))
        add_twice()
    _fill_periods(client, keys)

    used = [client.memory_usage(key) for key in client.keys(f"{keys.prefix}:history:*")]
    assert sum(size or 0 for size in used) <= MAX_BYTES
    for name, period in PERIODS.items():
        history = HistoryReader(client, keys).read(name)
        assert len(_named(history.types).keys() - {None}) == 200
        # A step may have begun meanwhile.
        for _, totals in history.types:
            assert totals.completed % (4 * runs) == 0
            assert totals.completed >= 4 * runs * (period.steps - 1)
        for _, totals in history.pools:
            [median] = totals.runs.percentiles([50]) or []
            assert median == pytest.approx(0.135, rel=0.25 * max(1, spread))


def test_types_beyond_the_bound_are_added_up(client: redis.Redis, keys: Keys) -> None:
    broker, total = Broker(client, keys), 3 * NAME_LIMIT
    for begin in range(0, total, 100):
        types = [_counts(f"type-{number}") for number in range(begin, begin + 100)]
        _add(broker, _flush(_counts("often", 10), *types))

    for name in PERIODS:
        history = HistoryReader(client, keys).read(name)
        sums = _named(history.types)
        assert len(sums) <= NAME_LIMIT + 1
        assert next(iter(sums)) == "often"
        assert [*sums][-1] is None
        assert sum(completed for completed, _, _ in sums.values()) == total + 60
        assert sums["often"] == (60, 0, 0)


def test_pools_beyond_the_bound_and_very_long_names_are_added_up(
    client: redis.Redis, keys: Keys
) -> None:
    broker = Broker(client, keys)
    for number in range(120):
        _add(broker, _flush(_counts(f"{number:03}" + "€" * 197), pool=f"pool-{number}"))

    history = HistoryReader(client, keys).read("hour")

    assert sum(each.completed for _, each in history.types) == 120
    assert sum(each.completed for _, each in history.pools) == 120
    assert history.types[-1][0] is history.pools[-1][0] is None
    assert sum(client.memory_usage(key) or 0 for key in _steps(client, keys)) < 4 * 32_768


def test_what_others_stored_is_replaced(client: redis.Redis, keys: Keys) -> None:
    broker, reader = Broker(client, keys), HistoryReader(client, keys)
    _add(broker, _flush(_counts("add")))
    for key in _steps(client, keys):
        client.set(key, b"\x93 no step")

    assert reader.read("hour").types == []
    _add(broker, _flush(_counts("add", 3)))

    assert _named(reader.read("hour").types) == {"add": (3, 0, 0)}


def test_a_lease_is_renewed_even_if_the_history_cannot_be_written(
    client: redis.Redis, keys: Keys
) -> None:
    worker = Worker(broker := Broker(client, keys))
    broken = HistoryFlush("token", "default", b"\xc1")

    reply = broker.heartbeat(worker.consumer, worker.incarnation, {}, boot=True, flush=broken)

    assert isinstance(reply.flush_error, ContractViolation)
    assert client.zscore(keys.workers, "w-0")


def test_the_last_counts_go_with_leaving(client: redis.Redis, keys: Keys) -> None:
    worker = Worker(broker := Broker(client, keys))
    worker.boot()

    assert broker.deregister("w-0", worker.incarnation, _flush(_counts("add")))

    assert _named(HistoryReader(client, keys).read("day").types) == {"add": (1, 0, 0)}


def test_reading_takes_two_round_trips(
    client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    _add(Broker(client, keys), _flush(*(_counts(f"type-{number}") for number in range(100))))
    reader = HistoryReader(client, keys)
    reader.read("day")  # connects
    sent = count_round_trips(monkeypatch)

    reader.read("day")

    assert len(sent) == 2
