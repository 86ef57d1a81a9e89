"""The Secret and the files that pods have their credentials from."""

from __future__ import annotations

import pytest

from bananas_topology.errors import RenderFailed
from bananas_topology.render.compose.target import ComposeTarget
from bananas_topology.render.kubernetes.secrets import secret_file, secret_keys
from bananas_topology.render.kubernetes.target import KubernetesTarget
from tests.conftest import MakeTopology
from tests.render.cluster import (
    container_of,
    documents_of,
    environment_of,
    find,
    objects_of,
    pod_of,
)
from tests.render.test_kubernetes_choices import KEDA, POOL


def test_a_secret_is_written_from_the_environment(make_topology: MakeTopology) -> None:
    topology = make_topology(POOL.replace("mode: default", "mode: default, secrets: [SMTP]"))

    (secret,) = documents_of(
        secret_file(topology, {"REDIS_PASSWORD": "p-w", "SMTP": "yes", "OTHER": "x"}).text
    )

    assert secret["metadata"]["name"] == "shop-secrets"
    assert secret["stringData"] == {
        "REDIS_PASSWORD": "p-w",
        "SMTP": "yes",
    }


def test_a_value_that_is_no_text_is_not_written(make_topology: MakeTopology) -> None:
    topology = make_topology(POOL.replace("mode: default", "mode: default, secrets: [SMTP, KEY]"))
    environ = {"REDIS_PASSWORD": "p-w", "SMTP": "\udcff", "KEY": "ü🍌"}

    with pytest.raises(RenderFailed, match="cannot write Secret shop-secrets: SMTP is not valid"):
        secret_file(topology, environ)


@pytest.mark.parametrize(
    ("token", "read_token", "reason"),
    [
        ("short", "r" * 20, r"API_TOKEN is invalid \(value hidden\): expected at least 16"),
        ("ü" * 20, "r" * 20, r"API_TOKEN is invalid \(value hidden\): expected at least 16"),
        ("t" * 20, "short", r"API_READ_TOKEN is invalid \(value hidden\): expected at least 16"),
        ("t" * 20, "t" * 20, "API_READ_TOKEN is the same as API_TOKEN"),
    ],
)
def test_tokens_that_the_api_would_reject_are_not_written(
    make_topology: MakeTopology, token: str, read_token: str, reason: str
) -> None:
    topology = make_topology(POOL + "api: {secrets: [API_READ_TOKEN]}\n")
    environ = {"REDIS_PASSWORD": "p-w", "API_TOKEN": token, "API_READ_TOKEN": read_token}

    with pytest.raises(RenderFailed, match=f"cannot write Secret .*: {reason}"):
        secret_file(topology, environ)


def test_credentials_are_files_of_the_secret_that_may_change(make_topology: MakeTopology) -> None:
    objects = objects_of(make_topology(POOL + "api: {}\n"))

    for kind, name, keys in (
        ("Deployment", "worker", ["REDIS_PASSWORD"]),
        ("Deployment", "api", ["REDIS_PASSWORD", "API_TOKEN"]),
        ("StatefulSet", "redis", ["REDIS_PASSWORD"]),
    ):
        workload = find(objects, kind, name)
        (volume,) = (each for each in pod_of(workload)["volumes"] if "secret" in each)
        assert volume["secret"]["secretName"] == "shop-secrets"
        assert [item["key"] for item in volume["secret"]["items"]] == keys
        mounts = {each["name"]: each for each in container_of(workload)["volumeMounts"]}
        # As a directory: a kubelet does not replace files that are mounted by subPath.
        assert mounts["credentials"] == {
            "name": "credentials",
            "mountPath": "/run/secrets/bananas",
            "readOnly": True,
        }
        if kind == "Deployment":
            seen = environment_of(workload)
            assert seen["REDIS_URL"] == "redis://redis:6379/0"
            for key in keys:
                assert seen[f"{key}_FILE"] == f"/run/secrets/bananas/{key}"


def test_the_url_may_be_in_a_secret_of_others(make_topology: MakeTopology) -> None:
    redis = "redis: {url: '${REDIS_URL}', secret: {name: cache-app, key: uri}}\n"
    topology = make_topology(POOL + redis + "api: {}\n")
    objects = objects_of(topology)
    items = [{"key": "uri", "path": "REDIS_URL"}]

    (volume,) = (
        each
        for each in pod_of(find(objects, "Deployment", "worker"))["volumes"]
        if each["name"] == "credentials"
    )
    assert volume["secret"] == {"secretName": "cache-app", "defaultMode": 0o440, "items": items}
    (volume,) = (
        each
        for each in pod_of(find(objects, "Deployment", "api"))["volumes"]
        if each["name"] == "credentials"
    )
    tokens = [{"key": "API_TOKEN", "path": "API_TOKEN"}]
    assert volume["projected"] == {
        "defaultMode": 0o440,
        "sources": [
            {"secret": {"name": "cache-app", "items": items}},
            {"secret": {"name": "shop-secrets", "items": tokens}},
        ],
    }
    env = environment_of(find(objects, "Deployment", "api"))
    assert env["REDIS_URL_FILE"] == "/run/secrets/bananas/REDIS_URL"
    assert secret_keys(topology) == ("API_TOKEN",)
    notices = KubernetesTarget().render(topology).notices
    assert "redis.secret requires Secret cache-app with the key uri" in notices
    assert any("with the keys API_TOKEN;" in each for each in notices)
    ignored = ComposeTarget().render(topology).notices
    assert any(each.startswith("redis.secret is ignored: ") for each in ignored)


def test_no_secret_is_asked_for_that_nothing_reads(make_topology: MakeTopology) -> None:
    topology = make_topology(POOL + "redis: {secret: {name: cache-app}}\n")

    assert topology.redis.is_external
    assert secret_keys(topology) == ()
    notices = KubernetesTarget().render(topology).notices
    assert not any("shop-secrets" in each for each in notices)


def test_a_secret_for_keda_has_the_parts_of_the_url(make_topology: MakeTopology) -> None:
    topology = make_topology(KEDA + "redis: {url: '${REDIS_URL}'}\n")

    (secret,) = documents_of(
        secret_file(topology, {"REDIS_URL": "rediss://app:p%40w@db.example.com:6380/1"}).text
    )

    assert secret["stringData"] == {
        "REDIS_URL": "rediss://app:p%40w@db.example.com:6380/1",
        "REDIS_ADDRESS": "db.example.com:6380",
        "REDIS_USERNAME": "app",
        "REDIS_PASSWORD": "p@w",
    }


def test_all_missing_values_of_a_secret_are_named(make_topology: MakeTopology) -> None:
    topology = make_topology(POOL.replace("mode: default", "mode: default, secrets: [SMTP, IMAP]"))

    with pytest.raises(RenderFailed, match="REDIS_PASSWORD, SMTP, IMAP not set"):
        secret_file(topology, {})


def test_a_password_that_the_server_would_reject_is_rejected(
    make_topology: MakeTopology,
) -> None:
    with pytest.raises(
        RenderFailed, match="REDIS_PASSWORD may contain only letters, digits, - and _"
    ) as e:
        secret_file(make_topology(POOL), {"REDIS_PASSWORD": "p/w of mine"})

    assert "of mine" not in str(e.value)
