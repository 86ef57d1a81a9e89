"""Every check fires on the fault it is for: in a topology file, on this host, or in Redis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import redis

from bananas_topology.doctor import gather
from bananas_topology.doctor.check import Status, all_checks
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stranded import StrandedJobs
from bananas_topology.system.clock import format_timestamp, sleep, wall_now, wall_seconds
from tests.doctor.seeding import SOUND, Seed, examined, results
from tests.jobs.test_stranded import go_job, hold

WARNING, FAILURE = Status.WARNING, Status.FAILURE
POOL = "{concurrency: 10, job_timeout: 5m, max_retries: 3, resources: {limits: {memory: 1Gi}}"
TWO_TYPES = "pools: {w: {mode: job-specialized, job_types: [a, b]}}\nscheduler: {}"
SCHEDULED_B = 'schedules: {nightly: {cron: "0 2 * * *", job: b}}'
SCHEDULED = SOUND + 'schedules: {nightly: {cron: "0 2 * * *", job: add}}\n'

#: Code, status and the text of a topology that has the fault.
IN_THE_FILE: list[tuple[str, Status, str]] = [
    ("DR101", FAILURE, "pools: {worker: {concurency: 3}}"),
    ("DR101", WARNING, f"pools: {{a: {POOL}}}, b: {POOL}}}}}\nscheduler: {{}}"),
    ("DR102", FAILURE, "jobs: {a: {}}\npools: {w: {mode: job-specialized, job_types: [b]}}"),
    ("DR102", WARNING, "pools: {w: {mode: specialized, priorities: [high]}}\nscheduler: {}"),
    ("DR103", FAILURE, "pools: {w: {scheduler: false}}"),
    ("DR104", WARNING, "pools: {w: {job_timeout: 10m, grace: 30s}}"),
    ("DR105", WARNING, "pools: {w: {max_retries: 1}}"),
    ("DR106", WARNING, "pools: {w: {job_timeout: 1m}}"),
    ("DR105", WARNING, "jobs: {a: {timeout: 1m}}\n" + TWO_TYPES),
    ("DR106", WARNING, "jobs: {a: {max_retries: 0}}\n" + TWO_TYPES),
    ("DR106", WARNING, "jobs: {a: {max_retries: 0}}\npools: {w: {}}\n" + SCHEDULED_B),
    ("DR107", WARNING, "pools: {w: {replicas: 3}}"),
    ("DR107", WARNING, SOUND + "api: {port: 8080}"),
    ("DR108", WARNING, SOUND + "kubernetes: {monitoring: none}"),
    ("DR109", FAILURE, SOUND + "logging: {console: false}"),
    ("DR110", WARNING, "pools: {w: {replicas: 2, logging: {file: {enabled: true}}}}"),
    ("DR110", WARNING, "pools: {w: {logging: {file: {enabled: true, max_size_mb: 9000}}}}"),
    ("DR111", WARNING, SOUND + 'redis: {url: "redis://:hunter2@10.0.0.1"}'),
    ("DR111", WARNING, "pools: {w: {env: {DATABASE_URL: 'postgres://shop:hunter2@db/shop'}}}"),
    ("DR112", FAILURE, SOUND + "api: {replicas: 2, publish: 8080}"),
    ("DR113", WARNING, SOUND + "image: ghcr.io/acme/shop:latest"),
    ("DR113", WARNING, SOUND + "redis: {managed: {image: valkey/valkey}}"),
    ("DR113", WARNING, "pools: {w: {init: {m: {command: [m], image: ghcr.io/acme/migrate}}}}"),
    ("DR302", FAILURE, "pools: {w: {concurrency: 1000, replicas: 1000}}"),
    ("DR303", WARNING, "pools: {w: {logging: {file: {enabled: true, max_size_mb: 99999}}}}"),
    ("DR305", WARNING, "pools: {w: {secrets: [SHOP_API_KEY]}}"),
    ("DR306", WARNING, "pools: {a: {replicas: 999}, b: {replicas: 999}, c: {replicas: 999}}"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "status", "text"), IN_THE_FILE)
def test_faults_of_a_topology_are_found(code: str, status: Status, text: str) -> None:
    examination = examined(text)
    limited = replace(examination.host, max_processes=90_000)

    result = results(replace(examination, host=limited))[code]

    assert result.verdict.status is status, result.verdict.measured
    assert result.remedy


@pytest.mark.parametrize("text", ["pools: [", "pools: {w: {concurrency: many}}"])
def test_what_cannot_be_read_is_not_called_sound(text: str) -> None:
    found = results(examined(text))

    assert found["DR101"].verdict.status is FAILURE
    skipped = [code for code in found if found[code].verdict.measured == "the topology has errors"]
    assert {"DR102", "DR103", "DR104", "DR110", "DR111", "DR112"} < set(skipped)


Seeder = Callable[[Seed], object]


def _ready(seed: Seed, *, hours: float, **more: object) -> None:
    hold(seed.client, seed.keys, "old", go_job("old", status="pending", age_s=3600 * hours, **more))
    seed.client.delete(seed.keys.processing)
    seed.client.lpush(seed.keys.queue("high"), "old")


def _overdue(seed: Seed) -> None:
    seed.fleet()
    seed.client.zadd(seed.keys.scheduled, {"late": wall_seconds() - 120})


def _next_run(seed: Seed, hours: float) -> None:
    seed.fleet()
    at = format_timestamp(wall_now() + timedelta(hours=hours))
    seed.client.hset(seed.keys.schedule("nightly"), mapping={"next_run": at, "cron": "x"})


def _other_scheduler(seed: Seed) -> None:
    _next_run(seed, 1)
    seed.client.set(seed.keys.schedule_lock("nightly"), "1", ex=60)


def _suspects(seed: Seed) -> None:
    seed.fleet()
    seed.client.sadd(seed.keys.suspects, "high:add")
    seed.push(seed.keys.suspect_queue("high:add"))


def _low_only(seed: Seed) -> None:
    seed.worker(priorities="high,normal")
    seed.push(seed.keys.queue("low"))


def _parked(seed: Seed) -> None:
    seed.fleet()
    seed.client.sadd(seed.keys.parked("high"), "unknown")
    seed.push(seed.keys.parked_queue("high", "unknown"), 3)


def _timed_out_and_delayed(seed: Seed) -> None:
    seed.failure("a", "JobTimeout")
    seed.client.zadd(seed.keys.scheduled, {"a": wall_seconds() + 60})


def _both(*seeders: Seeder) -> Seeder:
    def seed_all(seed: Seed) -> None:
        for seeder in seeders:
            seeder(seed)

    return seed_all


#: Code, status, and what to write into Redis; with the sound topology and a schedule.
IN_REDIS: list[tuple[str, Status, Seeder]] = [
    ("DR401", FAILURE, lambda seed: seed.worker("scheduler")),
    ("DR403", WARNING, lambda seed: seed.fleet(running=9)),
    ("DR403", WARNING, lambda seed: seed.fleet(running=1, stuck=8)),
    ("DR404", WARNING, _both(Seed.fleet, lambda seed: seed.push(seed.keys.queue("low"), 1500))),
    ("DR406", WARNING, _both(Seed.fleet, lambda seed: _ready(seed, hours=0.2, attempts=0))),
    ("DR406", FAILURE, _both(Seed.fleet, lambda seed: _ready(seed, hours=2, attempts=0))),
    ("DR407", WARNING, lambda seed: seed.fleet(finished=1000, failed=20)),
    ("DR407", FAILURE, lambda seed: seed.fleet(finished=1000, failed=100)),
    ("DR408", WARNING, _both(Seed.fleet, lambda seed: seed.dead("ValueError"))),
    ("DR409", FAILURE, _overdue),
    ("DR409", FAILURE, lambda seed: seed.worker()),
    ("DR410", FAILURE, lambda seed: _next_run(seed, -1)),
    ("DR410", WARNING, Seed.fleet),
    ("DR411", WARNING, _both(Seed.fleet, lambda seed: seed.worker(concurrency=20))),
    ("DR411", WARNING, _both(Seed.fleet, lambda seed: seed.worker(version="0.9"))),
    ("DR411", WARNING, _both(Seed.fleet, lambda seed: seed.worker(job_types="add,sub"))),
    ("DR412", WARNING, lambda seed: seed.fleet(clock_ms=round(wall_seconds() * 1000) + 5000)),
    ("DR412", FAILURE, lambda seed: seed.fleet(clock_ms=round(wall_seconds() * 1000) - 900_000)),
    ("DR413", WARNING, lambda seed: seed.fleet(seen_s_ago=100, lease_s=60)),
    ("DR415", WARNING, lambda seed: seed.fleet(stuck=2)),
    ("DR501", FAILURE, lambda seed: seed.push(seed.keys.queue("high"))),
    ("DR501", FAILURE, _both(Seed.fleet, lambda seed: seed.push(seed.keys.queue("high")))),
    ("DR502", FAILURE, _low_only),
    ("DR503", FAILURE, _parked),
    ("DR504", WARNING, lambda seed: seed.fleet(job_types="sub")),
    ("DR505", WARNING, lambda seed: seed.dead("JobTimeout", seconds_ago=1800)),
    ("DR505", WARNING, _timed_out_and_delayed),
    ("DR506", WARNING, _other_scheduler),
    ("DR507", WARNING, _suspects),
    ("DR507", WARNING, _both(_suspects, lambda seed: seed.client.set(seed.keys.quarantine, "w"))),
    ("DR507", WARNING, _both(Seed.fleet, lambda seed: seed.worker(lease_s=-5, running=1))),
    ("DR507", FAILURE, lambda seed: seed.worker(lease_s=-5, running=2)),
    ("DR508", WARNING, lambda seed: hold(seed.client, seed.keys, "a", go_job("a", age_s=7200))),
]  # fmt: skip


@pytest.mark.parametrize(("code", "status", "seeder"), IN_REDIS)
def test_faults_of_a_running_system_are_found(
    client: redis.Redis, keys: Keys, server_url: str, code: str, status: Status, seeder: Seeder
) -> None:
    seeder(Seed(client, keys))

    result = results(examined(SCHEDULED, url=server_url, prefix=keys.prefix))[code]

    assert result.verdict.status is status, result.verdict.measured
    assert result.remedy


def test_too_few_workers_of_a_pool_are_a_warning_and_none_of_up_a_failure(
    client: redis.Redis, keys: Keys, server_url: str
) -> None:
    text = SOUND.replace("replicas: 1}}", "replicas: 3}}")
    nobody = results(examined(text, url=server_url, prefix=keys.prefix, is_up=True))
    Seed(client, keys).fleet()

    few = results(examined(text, url=server_url, prefix=keys.prefix, is_up=True))

    assert nobody["DR509"].verdict.status is FAILURE
    assert nobody["DR401"].verdict.status is FAILURE
    assert "bananas logs worker scheduler" in (nobody["DR401"].remedy or "")
    assert few["DR401"].verdict.status is WARNING
    assert '"worker" has 1 of 3' in few["DR401"].verdict.measured


def test_a_quarantine_without_isolated_jobs_is_over(
    client: redis.Redis, keys: Keys, server_url: str
) -> None:
    Seed(client, keys).fleet()
    client.set(keys.quarantine, "w")

    found = results(examined(SOUND, url=server_url, prefix=keys.prefix))

    assert found["DR507"].verdict.status is Status.OK


def test_the_fix_names_the_pool_and_its_replicas(
    client: redis.Redis, keys: Keys, server_url: str
) -> None:
    seed = Seed(client, keys)
    seed.fleet(running=10, priorities="high")
    seed.push(seed.keys.queue("low"))

    found = results(examined(SOUND, url=server_url, prefix=keys.prefix))

    assert (found["DR403"].remedy or "").startswith("bananas scale worker=2")
    assert found["DR502"].remedy == "bananas up --only worker"


def test_where_up_runs_the_fix_is_a_command_that_changes_it(
    client: redis.Redis, keys: Keys, server_url: str
) -> None:
    seed = Seed(client, keys)
    seed.worker(priorities="high")
    seed.push(seed.keys.queue("low"))
    at = format_timestamp(wall_now() - timedelta(hours=1))
    client.hset(keys.schedule("nightly"), mapping={"next_run": at, "cron": "x"})

    found = results(examined(SCHEDULED, url=server_url, prefix=keys.prefix, is_up=True))

    started = "bananas scale scheduler=1"
    assert found["DR401"].remedy == f"{started}; if they crash: bananas logs scheduler"
    assert found["DR409"].remedy == f"{started}, or look for crashes in its log"
    assert found["DR410"].remedy == found["DR409"].remedy
    client.zadd(keys.scheduled, {"late": wall_seconds() - 120})
    overdue = results(examined(SCHEDULED, url=server_url, prefix=keys.prefix, is_up=True))["DR409"]
    assert (overdue.verdict.measured, overdue.remedy) == (
        "1 delayed job overdue",
        found["DR409"].remedy,
    )
    assert found["DR502"].remedy == "bananas scale worker=1"


def test_a_thin_pool_under_a_load_that_it_is_not_meant_for_is_found(
    client: redis.Redis, keys: Keys, server_url: str
) -> None:
    Seed(client, keys).worker(finished=5000, started_s_ago=3600)

    found = results(examined("pools: {worker: {mode: thin}}", url=server_url, prefix=keys.prefix))

    assert found["DR414"].verdict.status is WARNING


#: Code, status, and what happens between two surveys.
WHILE_OBSERVED: list[tuple[str, Status, Seeder]] = [
    ("DR402", FAILURE, lambda seed: seed.push(seed.keys.queue("high"), 100)),
    ("DR405", WARNING, lambda seed: seed.push(seed.keys.queue("high"), 100)),
    ("DR407", FAILURE, lambda seed: seed.stats(completed=100, failed=40)),
    ("DR408", WARNING, lambda seed: seed.stats(failed=1)),
]


@pytest.fixture
def between_surveys(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do something in each pause of an observation, however long that takes."""

    def set_action(action: Callable[[], object]) -> None:
        def act_and_sleep(seconds: float) -> None:
            action()
            sleep(seconds)

        monkeypatch.setattr(gather, "sleep", act_and_sleep)

    return set_action


@pytest.mark.parametrize(("code", "status", "action"), WHILE_OBSERVED)
def test_faults_that_only_time_shows_are_found(
    client: redis.Redis,
    keys: Keys,
    server_url: str,
    between_surveys: Callable[[Callable[[], object]], None],
    code: str,
    status: Status,
    action: Seeder,
) -> None:
    seed = Seed(client, keys)
    seed.fleet(finished=1000, failed=0, busy_ms=1_000_000)
    between_surveys(lambda: action(seed))

    found = results(examined(SOUND, url=server_url, prefix=keys.prefix, observe_s=1.0))

    assert found[code].verdict.status is status, found[code].verdict.measured


def test_a_short_queue_that_grows_for_a_moment_is_no_fault(
    client: redis.Redis,
    keys: Keys,
    server_url: str,
    between_surveys: Callable[[Callable[[], object]], None],
) -> None:
    seed = Seed(client, keys)
    seed.fleet()

    def busy() -> None:
        seed.push(seed.keys.queue("high"), 50)
        seed.stats(completed=500)

    between_surveys(busy)
    examination = examined(SOUND, url=server_url, prefix=keys.prefix, observe_s=1.0)

    assert examination.now.ready > examination.samples[0].ready
    assert results(examination)["DR405"].verdict.status is Status.OK


def test_heartbeats_in_time_are_no_fault(client: redis.Redis, keys: Keys, server_url: str) -> None:
    Seed(client, keys).fleet()

    found = results(examined(SOUND, url=server_url, prefix=keys.prefix))

    assert found["DR413"].verdict.status is Status.OK


def test_threads_that_stuck_handlers_hold_are_not_called_free(
    client: redis.Redis, keys: Keys, server_url: str
) -> None:
    seed = Seed(client, keys)
    seed.fleet(stuck=10)
    seed.push(seed.keys.queue("high"))

    found = results(examined(SOUND, url=server_url, prefix=keys.prefix))

    assert found["DR501"].verdict.status is Status.OK
    assert found["DR415"].verdict.status is WARNING


@pytest.mark.parametrize(
    ("ready", "grows"),
    [
        ([100, 200, 300], True),
        ([0, 500, 495, 490, 985, 980, 975], True),
        ([100, 101, 100, 103, 102, 104, 103, 106, 107], True),
        ([0, 0, 0, 0, 0, 500, 450], False),
        ([500, 400, 450, 300, 350, 200], False),
        ([500, 600, 200], False),
    ],
)
def test_a_queue_that_grows_in_steps_grows(
    client: redis.Redis, keys: Keys, server_url: str, ready: list[int], grows: bool
) -> None:
    Seed(client, keys).fleet()
    examination = examined(SOUND, url=server_url, prefix=keys.prefix)
    assert examination.live is not None
    survey = examination.now
    samples = tuple(
        replace(survey, lists=(replace(survey.lists[0], length=length), *survey.lists[1:]))
        for length in ready
    )

    found = results(replace(examination, live=replace(examination.live, samples=samples)))

    assert (found["DR405"].verdict.status is WARNING) is grows


def test_a_stranded_job_without_a_time_is_found_by_when_a_rescue_saw_it(
    client: redis.Redis, keys: Keys, server_url: str
) -> None:
    hold(client, keys, "a", go_job("a", status="pending"))
    StrandedJobs(client, keys).observe(0)
    note = client.hget(keys.rescue_seen, "a")
    assert isinstance(note, bytes)
    digest = note.decode().partition("|")[0]

    before = results(examined(SOUND, url=server_url, prefix=keys.prefix))["DR508"]
    client.hset(keys.rescue_seen, "a", f"{digest}|{wall_seconds() - 7200}")
    after = results(examined(SOUND, url=server_url, prefix=keys.prefix))["DR508"]

    assert (before.verdict.status, after.verdict.status) == (Status.OK, WARNING)


def test_what_others_have_stored_does_not_stop_an_examination(
    client: redis.Redis, keys: Keys, server_url: str
) -> None:
    seed = Seed(client, keys)
    seed.fleet(finished="many", clock_ms="late", started_at="yesterday", seen_ms="now")
    client.sadd(keys.parked("high"), b"\xff")
    client.lpush(keys.parked_queue("high", "").encode() + b"\xff", b"\xfe")
    client.set(keys.job("").encode() + b"\xfe", b'{"status": "pending", "updated_at": 7')
    client.sadd(keys.suspects, b"no source")
    client.lpush(keys.dead, b"\xfd")
    client.set(keys.failure("").encode() + b"\xfd", b"[]")
    client.hset(keys.schedule("nightly"), "next_run", b"\xff")
    client.lpush(keys.processing, b"\xfe")
    client.hset(keys.stats, "completed", "many")
    client.zadd(keys.workers, {"forever": float("inf")})

    odd = results(examined(SCHEDULED, url=server_url, prefix=keys.prefix))
    client.delete(keys.dead)
    client.set(keys.dead, "not a list")
    broken = results(examined(SCHEDULED, url=server_url, prefix=keys.prefix))

    assert odd["DR201"].verdict.status is Status.OK
    assert odd["DR503"].verdict.measured == "no handler: high: \ufffd (1)"
    assert broken["DR201"].verdict.status is FAILURE
    assert "WRONGTYPE" in broken["DR201"].verdict.measured


def test_every_check_has_a_test_that_makes_it_fire() -> None:
    from tests.doctor.test_servers import ON_A_SERVER

    fired = {code for code, *_ in (*IN_THE_FILE, *IN_REDIS, *WHILE_OBSERVED, *ON_A_SERVER)}
    in_tests_of_their_own = {"DR201", "DR207", "DR301", "DR304", "DR414", "DR509"}

    assert fired | in_tests_of_their_own == {each.code for each in all_checks()}
