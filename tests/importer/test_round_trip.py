"""Whatever a section sets is still set after rendering the topology and importing the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bananas_topology.contract.api import API_SETTINGS
from bananas_topology.contract.settings import POOL, Setting
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.importer.importer import Imported, import_files
from bananas_topology.importer.status import Status
from bananas_topology.render.compose.target import ComposeTarget
from bananas_topology.render.kubernetes.target import KubernetesTarget
from bananas_topology.render.target import RenderTarget
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.model import Topology
from bananas_topology.spec.schema import schema

#: Pool fields that depend on each other, which only make sense together.
TOGETHER: dict[str, dict[str, Any]] = {
    "mode": {"mode": "specialized", "priorities": ["high"]},
    "job_types": {"mode": "job-specialized", "job_types": ["send_email"]},
}


def _fields(setting: Setting) -> dict[str, Any]:
    """Fields of a pool in which the setting has another value than its default."""
    if setting.path in TOGETHER:
        return TOGETHER[setting.path]
    value: Any = _other_value(setting)
    for name in reversed(setting.path.split(".")):
        value = {name: value}
    fields: dict[str, Any] = value
    return fields


def _other_value(setting: Setting) -> Any:
    schema, default = setting.kind.schema, setting.default
    if schema.get("type") == "boolean":
        return not default
    if schema.get("type") == "integer":
        return default + 1
    if "enum" in schema:
        return next(each for each in schema["enum"] if each != default)
    if "memory" in schema.get("$ref", ""):
        return "512Mi"
    if "duration" in schema.get("$ref", ""):
        return "10m" if setting.name == "grace_ms" else "17s"
    return ["low"] if schema.get("type") == "array" else "/var/log/other.log"


def _topology(text: str) -> Topology:
    variables = {name: "x" for name in ("URI", "REGION", "SMTP_PASSWORD", "API_READ_TOKEN")}
    result = check_bytes(text.encode(), Path("topology.yaml"), variables)
    assert result.topology is not None, result.diagnostics
    return result.topology


@pytest.mark.parametrize("target", [ComposeTarget(), KubernetesTarget()], ids=lambda it: it.name)
@pytest.mark.parametrize(
    "setting",
    [each for each in WORKER_SETTINGS if each.path_in(POOL)],
    ids=lambda setting: setting.path,
)
def test_a_setting_survives_rendering_and_importing(setting: Setting, target: RenderTarget) -> None:
    pool = {"priorities": ["high", "normal"], **_fields(setting)}
    written = {"version": 1, "name": "shop", "handlers": ["shop.jobs"], "scheduler": {}}
    topology = _topology(yaml.safe_dump({**written, "pools": {"a": pool}}))
    files = [(file.path, file.text) for file in target.render(topology).files]

    imported = _topology(import_files([each for each in files if each[1]], "shop").text)

    assert getattr(topology.pools[0].worker, setting.name) != setting.default
    assert imported.pools[0].worker == topology.pools[0].worker


#: A value of each field that is no setting of the worker, by section; together with what it needs.
#: A field without one fails the test below: what it becomes in an import must be known.
SAMPLES: dict[str, dict[str, dict[str, Any]]] = {
    "pool": {
        "replicas": {"replicas": 3},
        "image": {"image": "reg/other:2"},
        "env": {
            "env": {
                "PLAIN": "5$$",
                "URI": {"secret": "pg-app", "key": "uri"},
                "REGION": {"config": "facts", "optional": True},
            }
        },
        "secrets": {"secrets": ["SMTP_PASSWORD"]},
        "env_from": {
            "env_from": [{"secret": "s", "optional": True}, {"config": "c", "prefix": "C_"}]
        },
        "volumes": {
            "volumes": {
                "models": {"path": "/models", "claim": "models"},
                "shared": {"path": "/shared", "claim": "shared", "read_only": True},
                "cache": {"path": "/cache", "temporary": "5Gi"},
                "tls": {"path": "/etc/tls", "secret": "tls"},
                "files": {"path": "/etc/files", "config": "files"},
            }
        },
        "priority_class": {"priority_class": "batch"},
        "runtime_class": {"runtime_class": "nvidia"},
        "init": {
            "env": {"TO": "1"},
            "init": {
                "fetch": {"command": ["fetch", "$$(TO)", "a b"], "image": "reg/fetch:1"},
                "migrate": {"command": ["python", "-m", "shop.migrate"]},
            },
        },
        "startup": {"startup": "15m"},
        "resources": {
            "resources": {
                "requests": {"cpu": 1, "memory": "1Gi"},
                "limits": {"memory": "2Gi", "ephemeral_storage": "5Gi", "nvidia.com/gpu": 1},
            }
        },
        "autoscale": {
            "resources": {"requests": {"cpu": 1}},
            "autoscale": {"min": 2, "max": 5, "cpu": 70, "scale_down": {"percent": 10}},
        },
        "placement": {"placement": {"prefer": {"disk": "ssd"}, "require": {"zone": "a"}}},
        "disruption": {"replicas": 4, "disruption": {"min_available": 2}},
        "egress": {"egress": [{"cidr": "10.0.0.0/8", "ports": [443]}, {"cidr": "::/0"}]},
    }
}
SAMPLES["scheduler"] = {
    name: sample
    for name, sample in SAMPLES["pool"].items()
    if name not in ("init", "startup", "autoscale")
}
SAMPLES["api"] = {
    **{name: sample for name, sample in SAMPLES["scheduler"].items() if name != "egress"},
    "secrets": {"secrets": ["API_READ_TOKEN", "SMTP_PASSWORD"]},
    "port": {"port": 9000},
    "publish": {"publish": 9001},
    "service_type": {"service_type": "NodePort"},
    "ingress": {"ingress": {"host": "a.example.com", "class": "nginx", "tls_secret": "a-tls"}},
    "autoscale": SAMPLES["pool"]["autoscale"],
}

#: What a target has no place for: it says so in a notice, and only the rest can be imported again.
WITHOUT = {
    "compose": (
        *("env", "secrets", "env_from", "volumes", "priority_class", "runtime_class", "resources"),
        *("autoscale", "placement", "disruption", "egress", "service_type", "ingress"),
    ),
    "k8s": ("publish",),
}


def _document(section: str, fields: dict[str, Any]) -> str:
    document: dict[str, Any] = {
        "version": 1,
        "name": "shop",
        "image": "reg/shop:1",
        "handlers": ["shop.jobs"],
        "pools": {"a": {"priorities": ["high", "normal"]}, "b": {}},
        "scheduler": {},
        "api": {},
    }
    if section == "pool":
        document["pools"]["a"] |= fields
    else:
        document[section] |= fields
    return yaml.safe_dump(document)


def _imported(topology: Topology, target: RenderTarget) -> Imported:
    files = [(file.path, file.text) for file in target.render(topology).files if file.text]
    return import_files(files, "shop")


@pytest.mark.parametrize("section", SAMPLES)
def test_no_field_is_forgotten(section: str) -> None:
    of_settings = {
        path[0] for each in (*WORKER_SETTINGS, *API_SETTINGS) if (path := each.path_in(section))
    }
    fields = schema()["$defs"][section]["properties"].keys()

    assert fields - of_settings - SAMPLES[section].keys() == set()


@pytest.mark.parametrize("target", [ComposeTarget(), KubernetesTarget()], ids=lambda it: it.name)
@pytest.mark.parametrize(
    ("section", "field"), [(section, field) for section in SAMPLES for field in SAMPLES[section]]
)
def test_a_field_survives_rendering_and_importing(
    section: str, field: str, target: RenderTarget
) -> None:
    topology = _topology(_document(section, SAMPLES[section][field]))

    first = _imported(topology, target)

    again = _topology(first.text)
    assert [str(each) for each in first.statuses if each.status is Status.MISTAKE] == []
    assert [str(each) for each in first.statuses if each.status is Status.DROPPED] == []
    if field not in WITHOUT[target.name]:
        assert (again.pools, again.api) == (topology.pools, topology.api)
    third = _topology(_imported(again, target).text)
    assert (third.pools, third.api, third.kubernetes) == (again.pools, again.api, again.kubernetes)


@pytest.mark.parametrize(
    "fields",
    [
        {"namespace": "apps"},
        {"namespace": {"name": "apps", "create": False}},
        {"namespace": {"create": False}},
        {"platform": "openshift"},
        {"service_account": {"name": "media", "annotations": {"a/b": "$$c"}}},
        {"service_account": {"name": "shared", "create": False}},
        {"service_account": {"annotations": {"a/b": "c"}}},
        {"image_pull_policy": "Always"},
        {"image_pull_secrets": ["ghcr", "quay"]},
        {"labels": {"team": "shop"}, "annotations": {"owner": "a@b", "price": "5$$"}},
        {"annotations": {"owner": "a@b"}, "service_account": {"annotations": {"a/b": "c"}}},
        {"network": {"dns": {"namespaces": ["dns"], "cidrs": [], "ports": [53, 1053]}}},
        {"network": {"scrape_from": ["metrics"], "api_from": ["web", "apps"]}},
        {"secret": "vault"},
    ],
    ids=str,
)
def test_settings_of_all_pods_survive_rendering_and_importing(fields: dict[str, Any]) -> None:
    document = yaml.safe_load(_document("pool", {}))
    topology = _topology(yaml.safe_dump({**document, "kubernetes": fields}))

    imported = _imported(topology, KubernetesTarget())

    assert _topology(imported.text).kubernetes == topology.kubernetes
    assert [str(each) for each in imported.statuses if each.status is Status.DROPPED] == []


@pytest.mark.parametrize("secret", [{"name": "cache-app", "key": "uri"}, {"name": "cache-app"}])
def test_the_secret_with_the_url_survives_rendering_and_importing(secret: dict[str, str]) -> None:
    document = yaml.safe_load(_document("pool", {"secrets": ["A"]}))
    redis = {"url": "${REDIS_URL}", "secret": secret}
    topology = _topology(yaml.safe_dump({**document, "redis": redis}))

    imported = _imported(topology, KubernetesTarget())

    assert _topology(imported.text).redis == topology.redis
    assert _topology(imported.text).kubernetes == topology.kubernetes
    assert [str(each) for each in imported.statuses if each.status is Status.DROPPED] == []
