"""Import of variables: interpolated ones, references, and those that Kubernetes expands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bananas_topology.errors import ImportRefused
from bananas_topology.importer.importer import Imported, import_files
from bananas_topology.importer.status import Status
from bananas_topology.render.target import find_target
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.model import Topology


def _import(text: str) -> Imported:
    return import_files([("file.yml", text)], "shop")


def _worker(*lines: str) -> str:
    variables = "\n".join(f"      {line}" for line in ("WORKER_HANDLERS: jobs", *lines))
    return f"services:\n  worker:\n    image: reg/x:1\n    environment:\n{variables}\n"


def _deployment(env: str, rest: str = "") -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: worker}}
spec:
  template:
    spec:
      containers:
      - image: reg/x:1
        env:
        - {{name: WORKER_HANDLERS, value: jobs}}
{env}{rest}"""


def _topology(text: str, environ: dict[str, str] | None = None) -> Topology:
    result = check_bytes(text.encode(), Path("topology.yaml"), environ or {})
    assert result.topology is not None, [str(each) for each in result.diagnostics]
    return result.topology


def _pool(imported: Imported) -> dict[str, Any]:
    pool: dict[str, Any] = yaml.safe_load(imported.text)["pools"]["worker"]
    return pool


@pytest.mark.parametrize(
    ("line", "environ", "name", "value"),
    [
        ("JOB_TIMEOUT: ${T:-7m}", {}, "job_timeout_ms", 420_000),
        ("JOB_TIMEOUT: ${T:-7m}", {"T": "1s"}, "job_timeout_ms", 1_000),
        ("JOB_TIMEOUT: ${T}", {}, "job_timeout_ms", 300_000),
        ("JOB_TIMEOUT:", {}, "job_timeout_ms", 300_000),
        ("JOB_TIMEOUT:", {"JOB_TIMEOUT": "9s"}, "job_timeout_ms", 9_000),
        ("WORKER_CONCURRENCY: ${C:-20}", {}, "concurrency", 20),
        ("WORKER_CONCURRENCY: $C", {"C": "7"}, "concurrency", 7),
        ("WORKER_CONCURRENCY:", {}, "concurrency", 10),
        ("MAX_RETRIES: ${R:-5}", {}, "max_retries", 5),
        ("ENABLE_SCHEDULER: ${S:-0}", {}, "enable_scheduler", False),
        ("WORKER_PRIORITIES: ${P:-high,normal}", {}, "priorities", ("high", "normal")),
        ("WORKER_PRIORITIES: High, low", {}, "priorities", ("high", "low")),
        ("WORKER_MODE: specialized", {}, "priorities", ("high",)),
        ("LOG_LEVEL: ${L:-debug}", {}, "log_level", "debug"),
        ("LOG_LEVEL: ${L:+debug}", {}, "log_level", "info"),
        ("MAX_RETRIES: ${A-}${B-}", {}, "max_retries", 3),
        ("MAX_RETRIES: 1${A-2}", {}, "max_retries", 12),
        ("JOB_TIMEOUT: ${T}m", {"T": "2"}, "job_timeout_ms", 120_000),
        ("JOB_TIMEOUT: ${T:-${U}}", {}, "job_timeout_ms", 300_000),
        ("JOB_TIMEOUT: ${T:-${U:-${V}}}", {"V": "7s"}, "job_timeout_ms", 7_000),
    ],
)
def test_a_variable_is_imported_as_a_value_that_is_valid_wherever_it_is_set(
    line: str, environ: dict[str, str], name: str, value: object
) -> None:
    topology = _topology(_import(_worker(line)).text, environ)

    assert getattr(topology.pools[0].worker, name) == value


def test_a_variable_with_a_list_is_reported_as_replaced_by_its_default() -> None:
    imported = _import(_worker("WORKER_PRIORITIES: ${P:-high,normal}"))

    [found] = [each for each in imported.statuses if each.place.endswith("WORKER_PRIORITIES")]
    assert found.status is Status.DROPPED
    assert "replaced by its default" in found.note


@pytest.mark.parametrize(
    ("line", "environ", "handlers"),
    [
        ("WORKER_HANDLERS: ${H:-a.jobs,b.jobs}", {}, ("a.jobs", "b.jobs")),
        ("WORKER_HANDLERS: ${H:-a.jobs}", {"H": "c.jobs"}, ("c.jobs",)),
        ("WORKER_HANDLERS: ${H:-}", {}, ("jobs",)),
    ],
)
def test_handlers_may_be_a_variable(
    line: str, environ: dict[str, str], handlers: tuple[str, ...]
) -> None:
    name, _, value = line.partition(": ")
    text = f"services: {{w: {{environment: {{WORKER_MODE: thin, {name}: {value!r}}}}}}}"

    assert _topology(_import(text).text, environ).handlers == handlers


def test_the_read_only_token_of_the_api_is_listed_as_a_secret() -> None:
    api = "  api: {environment: {API_PORT: 8080, API_READ_TOKEN: hunter2}}\n"

    imported = _import(_worker() + api)

    assert yaml.safe_load(imported.text)["api"]["secrets"] == ["API_READ_TOKEN"]
    assert "hunter2" not in str(imported)


@pytest.mark.parametrize("line", ["REDIS_KEY_PREFIX: ${P:-}", "REDIS_KEY_PREFIX: ${P}"])
def test_a_key_prefix_that_is_not_set_is_the_default(line: str) -> None:
    text = _import(_worker(line)).text

    assert _topology(text).redis.key_prefix == "bananas"
    assert _topology(text, {"P": "shop"}).redis.key_prefix == "shop"


def test_a_variable_with_schedules_is_replaced_by_its_default() -> None:
    schedules = '{"n": {"cron": "0 2 * * *", "job": "a"}}'

    imported = _import(_worker(f"WORKER_SCHEDULES: '${{S:-{schedules}}}'"))

    assert list(_topology(imported.text).schedules) == ["n"]
    [found] = [each for each in imported.statuses if each.place.endswith("SCHEDULES")]
    assert found.status is Status.DROPPED


def test_names_in_payloads_keep_their_dollars() -> None:
    schedules = '{"n": {"cron": "0 2 * * *", "job": "a", "payload": {"$$set": {"$$a": "$$b"}}}}'

    text = _import(_worker(f"WORKER_SCHEDULES: '{schedules}'")).text

    [schedule] = _topology(text).schedules.values()
    assert schedule.payload == {"$set": {"$a": "$b"}}


@pytest.mark.parametrize(
    "line",
    [
        "WORKER_CONCURRENCY: ${C:-0}",
        "JOB_TIMEOUT: ${T:-soon}",
        "MAX_RETRIES: ${R:-many}",
        "MY_VALUE: 5$",
        "WORKER_JOBS: '[1]'",
    ],
)
def test_an_invalid_value_is_a_mistake_even_as_a_default(line: str) -> None:
    imported = _import(_worker(line))

    place = line.partition(":")[0]
    [found] = [each for each in imported.statuses if each.place.endswith(place)]
    assert found.status is Status.MISTAKE
    _topology(imported.text)


def test_what_the_files_contradict_is_refused_with_what_is_wrong() -> None:
    api = "  api: {environment: {API_PORT: 80}, ports: ['8080:80'], scale: 2}\n"

    with pytest.raises(ImportRefused, match=r"not valid(?s:.*)BT225: the api has 2 replicas"):
        _import(_worker() + api)


def test_variables_of_the_go_version_without_effect_are_dropped() -> None:
    imported = _import(_worker("LOG_ES_ENABLED: true"))

    [found] = [each for each in imported.statuses if "LOG_ES" in each.place]
    assert (found.status, "env" in _pool(imported)) == (Status.DROPPED, False)


@pytest.mark.parametrize("mode", ["thin", "default", "specialized"])
def test_job_types_that_the_go_version_ignores_are_dropped(mode: str) -> None:
    imported = _import(_worker(f"WORKER_MODE: {mode}", "WORKER_JOB_TYPES: 'a,b'"))

    assert "job_types" not in _pool(imported)
    [found] = [each for each in imported.statuses if each.place.endswith("JOB_TYPES")]
    assert found.status is Status.DROPPED


def test_secret_values_are_not_shown() -> None:
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {any: hunter2}\n"
    env = "        - {name: DB_PASSWORD, value: hunter2}\n"

    statuses = (
        *_import(_deployment(env, secret)).statuses,
        *_import(_worker("DB_PASSWORD: hunter2")).statuses,
    )

    assert not [str(each) for each in statuses if "hunter2" in str(each)]


def test_values_of_config_maps_are_kept_where_the_config_map_is_known() -> None:
    env = """
        - {name: DB_HOST, valueFrom: {configMapKeyRef: {name: app, key: db_host}}}
        - {name: OTHER, valueFrom: {configMapKeyRef: {name: elsewhere, key: x}}}
        envFrom: [{configMapRef: {name: app}, prefix: APP_}]
"""
    config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\n"
    data = "data: {db_host: db$1, not-a-name: x}\n"

    imported = _import(_deployment(env, config + data))

    assert _pool(imported)["env"] == {
        "APP_db_host": "db$$1",
        "DB_HOST": "db$$1",
        "OTHER": {"config": "elsewhere", "key": "x"},
    }
    dropped = [each.place for each in imported.statuses if each.status is Status.DROPPED]
    assert dropped == ["configmap/app data.not-a-name"]


def test_a_redis_url_from_a_secret_is_an_external_redis_unless_one_is_in_the_files() -> None:
    url = "        - {name: REDIS_URL, valueFrom: {secretKeyRef: {name: s, key: url}}}\n"
    redis = (
        "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: redis}\n"
        "spec: {template: {spec: {containers: [{image: 'redis:7.2'}]}}}\n"
    )

    external, managed = (_import(_deployment(url, rest)).text for rest in ("", redis))

    where = {"name": "s", "key": "url"}
    assert yaml.safe_load(external)["redis"] == {"url": "${REDIS_URL}", "secret": where}
    assert "kubernetes" not in yaml.safe_load(external)
    assert "url" not in yaml.safe_load(managed)["redis"]


def test_a_redis_url_under_its_own_name_is_in_the_secret_of_the_topology() -> None:
    env = """
        - {name: REDIS_URL, valueFrom: {secretKeyRef: {name: s, key: REDIS_URL}}}
        - {name: DSN, valueFrom: {secretKeyRef: {name: other, key: dsn}}}
"""
    imported = _import(_deployment(env))

    written = yaml.safe_load(imported.text)
    assert (written["redis"], written["kubernetes"]) == ({"url": "${REDIS_URL}"}, {"secret": "s"})
    assert _pool(imported)["env"] == {"DSN": {"secret": "other", "key": "dsn"}}


@pytest.mark.parametrize("target", ["k8s", "compose"])
def test_credentials_stay_files_beside_an_existing_secret_with_all_variables(target: str) -> None:
    text = """
version: 1
name: shop
handlers: [jobs]
redis: {url: "${REDIS_URL}"}
pools: {worker: {env: {EMPTY: ""}, env_from: [{secret: shop-env}]}}
api: {env_from: [{secret: shop-env}]}
"""
    files = find_target(target).render(_topology(text)).files
    imported = import_files([(file.path, file.text) for file in files if file.is_streamed], "shop")

    assert yaml.safe_load(imported.text)["redis"] == {"url": "${REDIS_URL}"}
    assert _pool(imported) == {"env": {"EMPTY": ""}, "env_from": [{"secret": "shop-env"}]}
    assert Status.DROPPED not in {each.status for each in imported.statuses}


def test_a_variable_without_a_value_is_empty_as_in_kubernetes() -> None:
    imported = _import(_deployment("        - {name: EMPTY}"))

    assert _pool(imported)["env"] == {"EMPTY": ""}


def test_a_value_that_refers_to_what_is_not_known_is_dropped() -> None:
    env = """
        - {name: A, valueFrom: {configMapKeyRef: {name: elsewhere, key: a}}}
        - {name: B, value: "$(A)/b"}
        - {name: C, value: "$(D)/c"}
        envFrom: [{configMapRef: {name: elsewhere}}]
"""
    imported = _import(_deployment(env))

    assert _pool(imported)["env"] == {"A": {"config": "elsewhere", "key": "a"}}
    dropped = [each.value for each in imported.statuses if each.status is Status.DROPPED]
    assert dropped == ["B", "$(A)/b", "C", "$(D)/c"]
    [notice] = [each for each in imported.notices if "elsewhere" in each]
    assert "settings of workers in it are overridden" in notice


def test_variables_of_a_known_secret_are_listed() -> None:
    env = "        envFrom: [{secretRef: {name: s}}]\n"
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {SMTP: eA==}\n"

    assert _pool(_import(_deployment(env, secret)))["secrets"] == ["SMTP"]


def test_references_to_variables_are_expanded_as_kubernetes_does() -> None:
    env = """
        - {name: HOST, value: db}
        - {name: PW, valueFrom: {secretKeyRef: {name: s, key: PW}}}
        - {name: URL, value: "pg://$(HOST)/$$(HOST)/$(NOBODY)/$5"}
        - {name: SECRET_URL, value: "pg://$(PW)@h"}
"""
    imported = _import(_deployment(env))

    [pool] = _topology(imported.text).pools
    assert pool.env["URL"] == "pg://db/$(HOST)/$(NOBODY)/$5"
    assert "SECRET_URL" not in pool.env
    [found] = [each for each in imported.statuses if each.value == "SECRET_URL"]
    assert found.status is Status.DROPPED


@pytest.mark.parametrize("target", ["compose", "k8s"])
@pytest.mark.parametrize("value", ["$", "$$", "a$b", "$(A)", "$$(A)", "${A}", "100%$"])
def test_dollars_survive_rendering_and_importing(value: str, target: str) -> None:
    written = value.replace("$", "$$")
    text = f"version: 1\nname: a\nhandlers: [jobs]\npools: {{worker: {{env: {{X: '{written}'}}}}}}"

    rendered = find_target(target).render(_topology(text)).stream()

    assert _topology(_import(rendered).text).pools[0].env == {"X": value}
