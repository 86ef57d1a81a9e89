"""Import of typical existing deployments; ``make goldens`` rewrites the expected topologies."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from bananas_topology.errors import ImportRefused
from bananas_topology.importer.importer import Imported, import_files
from bananas_topology.importer.status import FieldStatus, Status
from bananas_topology.render.target import find_target
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.model import Topology

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures"
ROOT = HERE.parents[1]

#: Files that are imported together, and the target that renders such files.
DEPLOYMENTS = {
    "compose-thin": (("docker-compose-thin.yml",), "compose"),
    "compose-default": (("docker-compose-default.yml",), "compose"),
    "compose-specialized": (("docker-compose-specialized.yml",), "compose"),
    "compose-job-specialized": (("docker-compose-job-specialized.yml",), "compose"),
    "kubernetes": (("k8s-deployment.yml", "k8s-hpa.yml"), "k8s"),
}


def _import(names: Sequence[str]) -> Imported:
    return import_files([(name, (FIXTURES / name).read_text("utf-8")) for name in names], "shop")


def _import_text(text: str) -> Imported:
    return import_files([("file.yml", text)], "shop")


def _topology(text: str) -> Topology:
    report = check_bytes(text.encode(), Path("topology.yaml"), {})
    assert report.topology is not None, [str(each) for each in report.diagnostics]
    return report.topology


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def _status(imported: Imported, place: str) -> FieldStatus:
    [found] = [each for each in imported.statuses if each.place == place]
    return found


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_deployment_becomes_the_topology_that_a_person_would_have_written(
    deployment: str,
) -> None:
    names, _ = DEPLOYMENTS[deployment]
    path = HERE / "expected" / f"{deployment}.yaml"

    text = _import(names).text

    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")
    _topology(text)


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_importing_a_rendered_import_gives_the_same_topology(deployment: str) -> None:
    names, target = DEPLOYMENTS[deployment]
    first = _import(names).text

    rendered = find_target(target).render(_topology(first)).stream()
    second = _import_text(rendered)

    assert _without_comments(second.text) == _without_comments(first)
    assert [each for each in second.statuses if each.status is Status.MISTAKE] == []


@pytest.mark.parametrize("target", ["compose", "k8s"])
@pytest.mark.parametrize(
    "path", sorted((ROOT / "topologies").glob("*.yaml")), ids=lambda path: path.stem
)
def test_importing_a_rendering_reaches_a_fixed_point(path: Path, target: str) -> None:
    rendered = find_target(target).render(_topology(path.read_text("utf-8"))).stream()
    first = _import_text(rendered)

    again = find_target(target).render(_topology(first.text)).stream()

    assert _without_comments(_import_text(again).text) == _without_comments(first.text)
    assert [str(each) for each in first.statuses if each.status is Status.MISTAKE] == []


@pytest.mark.parametrize(
    ("deployment", "threads"),
    [
        ("compose-thin", 5),
        ("compose-default", 60),
        ("compose-specialized", 220),
        ("compose-job-specialized", 215),
    ],
)
def test_total_threads_match_those_stated_in_the_files(deployment: str, threads: int) -> None:
    assert _topology(_import(DEPLOYMENTS[deployment][0]).text).total_threads == threads


def _leaves(name: str) -> list[tuple[int, str]]:
    """The leaf values of a fixture with their line numbers, from 0."""
    lines = (FIXTURES / name).read_text("utf-8").splitlines()
    found: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        bare = line.split("#")[0].rstrip()
        value = bare.rpartition(": ")[2] if ": " in bare else bare.strip().removeprefix("- ")
        value = value.rpartition("=")[2].strip("'\" ")
        if bare and value and not value.endswith(":") and not value.startswith(("[", "---")):
            found.append((number, value))
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.yml")))
def test_every_leaf_is_in_the_report_with_its_value(name: str) -> None:
    names = next(names for names, _ in DEPLOYMENTS.values() if name in names)

    reported = [(each.line, each.value) for each in _import(names).statuses if each.file == name]

    for number, value in _leaves(name):
        assert any(line == number + 1 and value in shown for line, shown in reported), value


def _outcome(files: Sequence[tuple[str, str]]) -> object:
    """The report, or why the files are refused: they may contradict each other."""
    try:
        statuses = import_files(files, "shop").statuses
    except ImportRefused as error:
        return str(error)
    return [(each.place, each.value, each.status) for each in statuses]


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.yml")))
def test_changing_any_leaf_changes_the_report(name: str) -> None:
    """Only every seventh leaf, for speed: the test above covers all of them."""
    names = next(names for names, _ in DEPLOYMENTS.values() if name in names)
    texts = {each: (FIXTURES / each).read_text("utf-8") for each in names}
    before = _outcome([(each, text) for each, text in texts.items()])

    for number, value in _leaves(name)[::7]:
        lines = texts[name].splitlines()
        changed = "7" if value != "7" and value.isdigit() else f"{value}x"
        at = lines[number].split("#")[0].rindex(value)
        lines[number] = lines[number][:at] + changed + lines[number][at + len(value) :]
        files = [(each, "\n".join(lines) if each == name else texts[each]) for each in names]

        assert _outcome(files) != before, lines[number]


def test_eviction_of_queued_jobs_is_a_mistake() -> None:
    imported = _import(["docker-compose-default.yml"])

    found = _status(imported, "services.redis.command")
    assert found.status is Status.MISTAKE
    assert "evicts queued jobs" in found.note
    assert "allkeys-lru" in found.note


def test_one_host_port_for_several_replicas_is_a_mistake() -> None:
    found = _status(_import(["docker-compose-default.yml"]), "services.api.ports[0]")

    assert found.status is Status.MISTAKE
    assert "cannot share one host port" in found.note


def test_a_budget_that_blocks_drains_is_a_mistake() -> None:
    imported = _import(DEPLOYMENTS["kubernetes"][0])

    found = _status(imported, "poddisruptionbudget/scheduler-pdb spec.minAvailable")
    assert found.status is Status.MISTAKE
    assert "blocks node drains" in found.note
    other = _status(imported, "poddisruptionbudget/worker-high-pdb spec.minAvailable")
    assert other.status is Status.KEPT


def _budget(labels: str) -> str:
    pods = "".join(
        f"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n"
        f"  replicas: 4\n  template:\n    metadata: {{labels: {{app: w, tier: {name}}}}}\n"
        "    spec: {containers: [{name: w, image: x, env: [{name: WORKER_MODE, value: thin}]}]}\n"
        for name in ("worker", "worker-high")
    )
    return (
        f"{pods}---\napiVersion: policy/v1\nkind: PodDisruptionBudget\n"
        f"metadata: {{name: worker}}\n"
        f"spec: {{minAvailable: 2, selector: {{matchLabels: {labels}}}}}\n"
    )


def test_a_budget_belongs_to_the_workload_with_its_labels() -> None:
    imported = _import_text(_budget("{tier: worker-high}"))

    pools = yaml.safe_load(imported.text)["pools"]
    assert pools["worker-high"]["disruption"] == {"min_available": 2}
    assert "disruption" not in pools["worker"]


@pytest.mark.parametrize("labels", ["{app: w}", "{app: worker}"])
def test_a_budget_for_several_workloads_or_none_is_dropped(labels: str) -> None:
    imported = _import_text(_budget(labels))

    assert "disruption" not in imported.text
    place = "poddisruptionbudget/worker spec.minAvailable"
    assert _status(imported, place).status is Status.DROPPED


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ("{cpu: 1500000u, memory: 1e9}", {"cpu": "1500m", "memory": "1000000000"}),
        ("{cpu: '.5', memory: 128974848000m}", {"cpu": "500m", "memory": "123Mi"}),
        ("{cpu: 2k, memory: 1Pi}", {"cpu": 2000, "memory": "1024Ti"}),
    ],
)
def test_quantities_of_kubernetes_keep_their_value(
    resources: str, expected: dict[str, object]
) -> None:
    imported = _import_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec: {template: {spec: "
        "{containers: [{name: w, image: x, env: [{name: WORKER_MODE, value: thin}], "
        f"resources: {{limits: {resources}}}}}]}}}}}}\n"
    )

    assert yaml.safe_load(imported.text)["pools"]["w"]["resources"]["limits"] == expected


@pytest.mark.parametrize(
    ("port", "publish"),
    [
        ("80:8080", 80),
        ("${P:-80}:8080", "${P:-80}"),
        ("0.0.0.0:80:8080/tcp", 80),
        ("127.0.0.1:80:8080", None),
        ("[::1]:80:8080", None),
        ("8080", None),
    ],
)
def test_a_port_is_published_only_where_it_was(port: str, publish: object) -> None:
    imported = _import_text(
        "services:\n  w: {environment: {WORKER_MODE: thin}}\n"
        f"  api: {{environment: {{API_PORT: 8080}}, ports: ['{port}']}}\n"
    )

    assert yaml.safe_load(imported.text)["api"].get("publish") == publish
    found = _status(imported, "services.api.ports[0]")
    assert found.status is (Status.KEPT if publish else Status.DROPPED)


def test_a_long_start_is_reported_as_what_it_became() -> None:
    imported = _import_text(
        "services: {w: {environment: {WORKER_MODE: thin}, healthcheck: {start_period: 10m}}}"
    )

    assert yaml.safe_load(imported.text)["pools"]["w"]["startup"] == "10m"
    assert _status(imported, "services.w.healthcheck.start_period").note == "`startup`"


def test_an_anonymous_volume_for_log_files_is_no_mistake() -> None:
    imported = _import_text(
        "services: {w: {environment: {WORKER_MODE: thin}, volumes: [/var/log/bananas]}}"
    )

    assert _status(imported, "services.w.volumes[0]").status is Status.TRANSLATED


def test_replicas_that_override_an_autoscaler_are_a_mistake() -> None:
    deployment = (
        (FIXTURES / "k8s-deployment.yml").read_text("utf-8").replace("replicas: 3", "replicas: 5")
    )
    autoscaler = (FIXTURES / "k8s-hpa.yml").read_text("utf-8")

    imported = import_files([("a.yml", deployment), ("b.yml", autoscaler)], "shop")

    found = _status(imported, "deployment/worker-high spec.replicas")
    assert found.status is Status.MISTAKE
    assert "override the autoscaler" in found.note


@pytest.mark.parametrize("port", ["²", "9" * 5000, "0", "8080-8081"])
def test_an_invalid_port_is_a_mistake_or_left_out(port: str) -> None:
    worker = "w: {image: a, environment: [WORKER_MODE=thin]}"
    imported = _import_text(f"services: {{{worker}, api: {{environment: {{API_PORT: '{port}'}}}}}}")
    for ports in (f"['{port}:{port}']", f"[{{target: '{port}', published: '{port}'}}]"):
        _import_text(f"services: {{{worker}, api: {{environment: [API_PORT=80], ports: {ports}}}}}")

    found = _status(imported, "services.api.environment.API_PORT")
    assert found.status is Status.MISTAKE
    assert "expected an integer from 1 to 65535" in found.note


def test_the_api_keeps_only_the_logging_settings_that_it_supports() -> None:
    imported = _import_text(
        "services: {w: {environment: [WORKER_MODE=thin]}, api: {environment: "
        "[API_PORT=80, LOG_LEVEL=debug, LOG_FILE_ENABLED=true]}}"
    )

    api = _topology(imported.text).api
    assert api is not None
    assert api.config.log_level == "debug"
    assert _status(imported, "services.api.environment[2]").status is Status.DROPPED


def test_environment_as_a_map_equals_environment_as_a_list() -> None:
    as_list = "services: {w: {image: a, environment: [WORKER_MODE=thin, 'JOB_TIMEOUT=90s']}}"
    as_map = "services: {w: {environment: {JOB_TIMEOUT: 90s, WORKER_MODE: thin}, image: a}}"

    texts = [_import_text(text).text for text in (as_list, as_map)]

    assert texts[0] == texts[1]
    assert yaml.safe_load(texts[0])["pools"] == {"w": {"mode": "thin", "job_timeout": "1m30s"}}


def test_a_plain_text_password_is_a_mistake_and_never_shown() -> None:
    imported = _import_text(
        "services: {w: {environment: [WORKER_MODE=thin, 'REDIS_URL=redis://:s3cret@db:6379']}}"
    )

    found = _status(imported, "services.w.environment[1]")
    assert found.status is Status.MISTAKE
    assert "password in plain text" in found.note
    assert "s3cret" not in str(found) + imported.text
    assert yaml.safe_load(imported.text)["redis"] == {"url": "${REDIS_URL}"}


@pytest.mark.parametrize(
    "environment",
    [
        "{REDIS_URL: 'redis//:hunter2@db', DB_PASSWORD: hunter2}",
        "{REDIS_URL: 'redis://u:hun/hunter2@db', SMTP_TOKEN: 'hunter2'}",
        "['REDIS_URL=redis://:hunter2?x@db', DB_PASSWORD=hunter2, OTHER=x redis://:hunter2@a y]",
    ],
)
def test_the_report_shows_no_password_of_a_compose_file(environment: str) -> None:
    text = f"""
services:
  redis: {{image: 'redis:7', command: [redis-server, --requirepass, hunter2]}}
  cache: {{image: 'redis:7', command: redis-server --requirepass hunter2}}
  worker: {{environment: {environment}}}
  other: {{environment: {{WORKER_MODE: thin}}}}
"""

    imported = _import_text(text)

    assert "hunter2" not in "".join(str(each) for each in imported.statuses)


def test_the_report_shows_no_password_of_kubernetes_objects() -> None:
    text = """
apiVersion: v1
kind: Secret
metadata: {name: shop}
stringData: {redis: hunter2, REDIS_URL: 'redis://:hunter2@db'}
data: {token: aHVudGVyMg==, other: aHVudGVyMg==}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  template:
    spec:
      containers:
        - name: worker
          env:
            - {name: WORKER_MODE, value: thin}
            - {name: DB_PASSWORD, value: hunter2}
            - {name: REDIS_URL, value: 'redis://u:x/hunter2@db'}
"""

    imported = _import_text(text)

    shown = "".join(str(each) for each in imported.statuses)
    assert "hunter2" not in shown
    assert "aHVudGVyMg" not in shown
    assert "DB_PASSWORD" in shown


def test_other_variables_become_the_env_of_their_pool() -> None:
    text = "services: {w: {environment: {WORKER_MODE: thin, SMTP_HOST: mail, LEVEL: 5}}}"

    pools = yaml.safe_load(_import_text(text).text)["pools"]

    assert pools["w"]["env"] == {"SMTP_HOST": "mail", "LEVEL": "5"}


def test_a_worker_that_stores_no_results_keeps_none() -> None:
    imported = _import_text(
        """
        services:
          worker:
            image: shop
            environment:
              WORKER_MODE: default
              WORKER_HANDLERS: shop.jobs
              RESULT_BACKEND_TTL_SUCCESS: 2h
              RESULT_BACKEND_ENABLED: "false"
        """
    )

    [pool] = _topology(imported.text).pools
    assert (pool.worker.keep.results_ms, pool.worker.keep.errors_ms) == (0, 0)
    place = "services.worker.environment.RESULT_BACKEND_"
    assert _status(imported, f"{place}ENABLED").status is Status.TRANSLATED
    assert _status(imported, f"{place}TTL_SUCCESS").status is Status.DROPPED


def test_an_invalid_value_is_a_mistake_and_left_out() -> None:
    text = "services: {w: {environment: {WORKER_MODE: thin, WORKER_CONCURRENCY: lots}}}"

    imported = _import_text(text)

    found = _status(imported, "services.w.environment.WORKER_CONCURRENCY")
    assert found.status is Status.MISTAKE
    assert "expected an integer" in found.note
    assert yaml.safe_load(imported.text)["pools"] == {"w": {"mode": "thin"}}


def test_secrets_are_listed_by_name_without_values() -> None:
    text = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: w}
spec:
  template:
    spec:
      containers:
      - image: a
        env:
        - {name: WORKER_MODE, value: thin}
        - {name: REDIS_URL, valueFrom: {secretKeyRef: {name: s, key: url}}}
        - {name: SMTP_PASSWORD, valueFrom: {secretKeyRef: {name: s, key: SMTP_PASSWORD}}}
        - {name: OTHER, valueFrom: {secretKeyRef: {name: s, key: smtp}}}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {smtp: s3cret}
"""
    imported = _import_text(text)

    pool = yaml.safe_load(imported.text)["pools"]["w"]
    assert pool["secrets"] == ["SMTP_PASSWORD"]
    assert pool["env"] == {"OTHER": {"secret": "s", "key": "smtp"}}
    assert "s3cret" not in imported.text


def test_other_services_are_left_out_with_a_notice() -> None:
    text = "services: {w: {environment: {WORKER_MODE: thin}}, db: {image: 'postgres:16'}}"

    imported = _import_text(text)

    assert _status(imported, "services.db.image").status is Status.DROPPED
    assert any('"db"' in notice for notice in imported.notices)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("services: {db: {image: 'postgres:16'}}", "not a Bananas deployment"),
        ("services: {}", "not a Bananas deployment"),
        ("a: 1", "neither a Compose file nor"),
        ("- 1", "neither a Compose file nor"),
        ("", "not a Bananas deployment"),
        ("a: [", "not valid YAML"),
        ("a: !!python/object:os.system x", "neither a Compose file nor"),
        ("\x00", "not valid YAML"),
        ("services: {w: {}, w: {}}", 'duplicate key "w"; remove one'),
        ("kind: Pod\nspec:\n\t- a", "tabs cannot indent"),
        ("kind: Pod\nmetadata:\n  name: {{ .Release.Name }}-x\n", "helm template"),
        ("kind: Pod\nmetadata:\n  name: {{ .Release.Name }}\n", "helm template"),
        ("[" * 5000, "nested too deeply|levels|not valid YAML"),
        (
            "a0: &a0 [x]\n"
            + "".join(f"a{n + 1}: &a{n + 1} [{','.join([f'*a{n}'] * 9)}]\n" for n in range(9)),
            "too large",
        ),
    ],
)
def test_the_error_for_other_files_says_what_was_looked_for(text: str, expected: str) -> None:
    with pytest.raises(ImportRefused, match=expected):
        _import_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "services: {w: {environment: {WORKER_MODE: thin}, deploy: {replicas: many}}}",
        "services: {w: {environment: {WORKER_MODE: thin}, deploy: [1]}}",
        "services: {w: {environment: [WORKER_MODE, 3, {a: b}]}}",
        "services: {w: {environment: {WORKER_MODE: thin}, deploy: {resources: {limits: {cpus: x}}}"
        "}}",
        "services: {w: {environment: {WORKER_MODE: thin, WORKER_JOBS: '[1]'}, ports: [{a: 1}]}}",
        "services: {w: 5, x: {environment: {WORKER_MODE: thin}}, api: {image: bananas-api, "
        "ports: [x]}}",
    ],
)
def test_invalid_fields_are_reported_field_by_field(text: str) -> None:
    imported = _import_text(text)

    assert imported.statuses
    json.dumps([str(each) for each in imported.statuses])


@pytest.mark.parametrize("target", ["compose", "k8s"])
def test_an_external_server_whose_url_is_in_a_file_stays_external(target: str) -> None:
    topology = _topology(
        "version: 1\nname: shop\nhandlers: [shop.jobs]\nredis: {url: '${REDIS_URL}'}\n"
        "pools: {worker: {mode: default}}\nscheduler: {}\nkubernetes: {secret: vault}\n"
    )
    imported = _import_text(find_target(target).render(topology).stream())

    again = _topology(imported.text)
    assert again.redis.is_external
    if target == "k8s":
        assert again.kubernetes.secret == "vault"
    assert not [
        each.place
        for each in imported.statuses
        if each.status is Status.DROPPED and "credentials" in str(each)
    ]


def test_pods_with_other_accounts_get_that_of_the_first_workload() -> None:
    account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: jobs}\n"
    pods = "".join(
        f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  template:
    spec:
      serviceAccountName: {name}
      containers: [{{image: a, env: [{{name: WORKER_MODE, value: default}}]}}]
"""
        for name in ("jobs", "other")
    )

    imported = _import_text(account + pods)

    assert yaml.safe_load(imported.text)["kubernetes"] == {"service_account": {"name": "jobs"}}
    assert [each.place for each in imported.statuses if each.status is Status.DROPPED] == [
        "deployment/other spec.template.spec.serviceAccountName"
    ]
