from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bananas_topology.contract.jobs import JobSettings, Keep, Schedule
from bananas_topology.contract.values import LOG_FORMATS, LOG_LEVELS, PRIORITIES
from bananas_topology.contract.worker import WORKER_SETTINGS, WorkerConfig, from_env, to_env
from bananas_topology.errors import InvalidSettings

#: The minimal environment of a worker.
MINIMAL = {"WORKER_HANDLERS": "shop.jobs", "WORKER_ID": "w"}

_NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
_DURATIONS = st.integers(1, 10**9)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=5,
)
_KEPT = st.none() | st.integers(0, 10**10)
_JOBS = st.builds(
    JobSettings,
    keep=st.builds(Keep, _KEPT, _KEPT, _KEPT, _KEPT),
    timeout_ms=st.none() | _DURATIONS,
    max_retries=st.none() | st.integers(0, 1000),
    backoff_base_ms=st.none() | _DURATIONS,
    backoff_cap_ms=st.none() | _DURATIONS,
)
_SCHEDULES = st.builds(
    Schedule,
    cron=st.just("0 2 * * *"),
    job=_NAMES,
    timezone=st.sampled_from(["UTC", "Europe/Rome"]),
    payload=_JSON,
    priority=st.sampled_from(PRIORITIES),
    catch_up=st.booleans(),
)
_CONFIGS = st.builds(
    WorkerConfig,
    mode=st.sampled_from(["thin", "default", "specialized"]),
    concurrency=st.integers(1, 1000),
    priorities=st.sets(st.sampled_from(PRIORITIES), min_size=1).map(
        lambda some: tuple(p for p in PRIORITIES if p in some)
    ),
    handlers=st.lists(_NAMES, min_size=1, max_size=3, unique=True).map(tuple),
    worker_id=st.just("w"),
    pool=_NAMES,
    enable_scheduler=st.booleans(),
    scheduler_interval_ms=st.integers(100, 60_000),
    job_timeout_ms=_DURATIONS,
    max_retries=st.integers(0, 1000),
    max_crashes=st.integers(1, 1000),
    lease_ms=st.integers(1_000, 10**7),
    grace_ms=st.integers(0, 10**7),
    metrics_port=st.integers(0, 65_535),
    liveness_file=st.sampled_from(["", "/run/live"]),
    jobs=st.dictionaries(_NAMES, _JOBS.filter(lambda each: each != JobSettings()), max_size=3),
    schedules=st.dictionaries(_NAMES, _SCHEDULES, max_size=3),
    results_enabled=st.booleans(),
    keep_results_ms=st.integers(0, 10**9),
    log_level=st.sampled_from(LOG_LEVELS),
    log_format=st.sampled_from(LOG_FORMATS),
    log_color=st.booleans(),
    log_file_enabled=st.booleans(),
)


@given(_CONFIGS)
def test_variables_round_trip(config: WorkerConfig) -> None:
    env = {**to_env(config), "WORKER_ID": config.worker_id}

    assert from_env(env) == config


def test_every_field_has_a_variable_of_its_own() -> None:
    fields = [field.name for field in dataclasses.fields(WorkerConfig)]

    assert [setting.name for setting in WORKER_SETTINGS] == fields
    assert len({setting.variable for setting in WORKER_SETTINGS}) == len(WORKER_SETTINGS)


def test_defaults_are_those_of_the_go_version() -> None:
    config = from_env(MINIMAL)

    assert config == WorkerConfig(worker_id="w", handlers=("shop.jobs",))
    defaults = {setting.variable: setting.default_text for setting in WORKER_SETTINGS}
    assert {
        "WORKER_MODE": "default",
        "WORKER_CONCURRENCY": "10",
        "WORKER_PRIORITIES": "high,normal,low",
        "WORKER_JOB_TYPES": "",
        "ENABLE_SCHEDULER": "true",
        "SCHEDULER_INTERVAL": "1s",
        "JOB_TIMEOUT": "5m",
        "MAX_RETRIES": "3",
        "REDIS_URL": "redis://localhost:6379",
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "json",
        "LOG_CONSOLE_ENABLED": "true",
        "LOG_FILE_ENABLED": "false",
        "LOG_FILE_PATH": "/var/log/bananas/worker.log",
        "LOG_FILE_MAX_SIZE_MB": "100",
        "LOG_FILE_MAX_BACKUPS": "5",
        "LOG_FILE_MAX_AGE_DAYS": "30",
        "LOG_FILE_COMPRESS": "true",
        "LOG_COLOR": "true",
        "RESULT_BACKEND_ENABLED": "true",
        "RESULT_BACKEND_TTL_SUCCESS": "1h",
        "RESULT_BACKEND_TTL_FAILURE": "24h",
        "REDIS_KEY_PREFIX": "bananas",
        "WORKER_LEASE": "15s",
        "WORKER_GRACE": "30s",
    }.items() <= defaults.items()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"WORKER_MODE": "fat"},
            "invalid worker mode: fat "
            "(must be one of: thin, default, specialized, job-specialized, scheduler-only)",
        ),
        ({"WORKER_CONCURRENCY": "0"}, "worker concurrency must be at least 1 (got 0)"),
        ({"WORKER_CONCURRENCY": "-3"}, "worker concurrency must be at least 1 (got -3)"),
        ({"WORKER_CONCURRENCY": "1001"}, "worker concurrency too high: 1001 (maximum 1000)"),
        ({"WORKER_PRIORITIES": ","}, "worker must process at least one priority queue"),
        ({"WORKER_PRIORITIES": "hihg"}, "invalid priority: hihg"),
        (
            {"WORKER_MODE": "job-specialized"},
            "job-specialized mode requires at least one job type to be specified",
        ),
        (
            {"WORKER_MODE": "specialized"},
            "specialized mode requires at least one priority to be specified",
        ),
        ({"SCHEDULER_INTERVAL": "50ms"}, "scheduler interval too short: 50ms (minimum 100ms)"),
        ({"SCHEDULER_INTERVAL": "2m0s"}, "scheduler interval too long: 2m0s (maximum 1 minute)"),
        ({"WORKER_CONCURRENCY": "ten"}, 'WORKER_CONCURRENCY is "ten": expected an integer'),
        ({"ENABLE_SCHEDULER": "yes"}, 'ENABLE_SCHEDULER is "yes": expected true or false'),
        ({"JOB_TIMEOUT": "0s"}, 'JOB_TIMEOUT is "0s": expected at least 1ms'),
        ({"MAX_RETRIES": "-1"}, 'MAX_RETRIES is "-1": expected an integer from 0 to 1000'),
        ({"WORKER_LEASE": "10ms"}, 'WORKER_LEASE is "10ms": expected at least 1s'),
        ({"WORKER_HANDLERS": "a b"}, 'separated by commas, got "a b"'),
        ({"WORKER_JOB_TYPES": "a"}, "WORKER_JOB_TYPES is set, but WORKER_MODE is default"),
        ({"WORKER_ID": "a b"}, "letters, digits, dots, dashes and underscores"),
        ({"WORKER_JOBS": "[]"}, "expected a JSON object of objects"),
        ({"WORKER_JOBS": '{"a":{"timout":"1s"}}'}, 'in "a", got "timout"'),
        ({"WORKER_JOBS": '{"a":{"max_retries":true}}'}, '"max_retries" of "a" to be an integer'),
        ({"WORKER_SCHEDULES": '{"a":{"cron":"* * * * *"}}'}, 'expected "job" in "a"'),
        ({"METRICS_PORT": "0"}, "expected an integer from 1 to 65535"),
    ],
)
def test_an_error_names_the_variable_and_what_was_expected(
    variables: dict[str, str], expected: str
) -> None:
    with pytest.raises(InvalidSettings) as caught:
        from_env({**MINIMAL, **variables})

    (problem,) = caught.value.problems
    assert problem.startswith((*variables, "WORKER_JOB_TYPES", "WORKER_PRIORITIES"))
    assert expected in problem


@pytest.mark.parametrize("text", ["High, low", "LOW,high", " high ,low,"])
def test_priorities_are_read_as_in_the_go_version(text: str) -> None:
    assert from_env({**MINIMAL, "WORKER_PRIORITIES": text}).priorities == ("high", "low")


@pytest.mark.parametrize(
    ("variables", "concurrency", "has_scheduler"),
    [
        ({}, 10, True),
        ({"WORKER_MODE": "thin"}, 5, True),
        ({"WORKER_MODE": "thin", "WORKER_CONCURRENCY": "10"}, 10, True),
        ({"WORKER_MODE": "specialized", "WORKER_PRIORITIES": "low"}, 10, False),
        ({"WORKER_MODE": "job-specialized", "WORKER_JOB_TYPES": "a"}, 10, False),
        (
            {
                "WORKER_MODE": "specialized",
                "WORKER_PRIORITIES": "low",
                "ENABLE_SCHEDULER": "true",
            },
            10,
            True,
        ),
        ({"WORKER_MODE": "scheduler-only"}, 0, True),
    ],
)
def test_a_mode_is_a_preset_without_a_topology_too(
    variables: dict[str, str], concurrency: int, has_scheduler: bool
) -> None:
    config = from_env({**MINIMAL, **variables})

    assert (config.concurrency, config.enable_scheduler) == (concurrency, has_scheduler)


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        from_env({"WORKER_MODE": "x", "LOG_LEVEL": "loud", "JOB_TIMEOUT": "soon"})

    assert [problem.split()[0] for problem in caught.value.problems] == [
        "WORKER_MODE",
        "JOB_TIMEOUT",
        "LOG_LEVEL",
    ]


def test_an_error_does_not_show_a_secret() -> None:
    with pytest.raises(InvalidSettings) as caught:
        from_env({**MINIMAL, "REDIS_URL": "\x00s3cret"})

    assert "s3cret" not in str(caught.value)


def test_only_a_scheduler_needs_no_handlers() -> None:
    with pytest.raises(InvalidSettings, match="WORKER_HANDLERS is not set"):
        from_env({})

    config = from_env({"WORKER_MODE": "scheduler-only", "WORKER_CONCURRENCY": "20"})

    assert (config.concurrency, config.enable_scheduler, config.handlers) == (0, True, ())


def test_an_empty_variable_counts_as_not_set() -> None:
    assert from_env({**MINIMAL, "WORKER_CONCURRENCY": "", "METRICS_PORT": ""}) == from_env(MINIMAL)


@pytest.mark.parametrize(
    "snippet",
    [
        "WORKER_MODE=thin WORKER_CONCURRENCY=5 WORKER_PRIORITIES=high,normal,low "
        "ENABLE_SCHEDULER=true",
        "WORKER_MODE=default WORKER_CONCURRENCY=20 WORKER_PRIORITIES=high,normal,low "
        "ENABLE_SCHEDULER=false",
        "WORKER_MODE=specialized WORKER_PRIORITIES=high WORKER_CONCURRENCY=50",
        "WORKER_MODE=job-specialized WORKER_JOB_TYPES=fetch_data,process_images,upload_files "
        "WORKER_CONCURRENCY=50",
        "WORKER_MODE=scheduler-only SCHEDULER_INTERVAL=1s",
    ],
)
def test_environments_of_the_go_version_are_valid(snippet: str) -> None:
    variables = dict(part.split("=", 1) for part in snippet.split())

    config = from_env({**MINIMAL, **variables})

    assert config.mode == variables["WORKER_MODE"]


@given(
    st.dictionaries(
        st.sampled_from([each.variable for each in WORKER_SETTINGS]),
        st.text() | _JSON.map(json.dumps),
    )
)
def test_any_text_is_valid_or_an_error(env: dict[str, Any]) -> None:
    problems: list[str] = []
    try:
        from_env(env)
    except InvalidSettings as error:
        problems = error.problems

    assert all(problem.split()[0].isupper() for problem in problems)
