"""Namespaces and network policies: what the cluster has, and who may connect."""

from __future__ import annotations

from typing import Any

import pytest

from bananas_topology.render.containers import METRICS_PORT
from bananas_topology.render.kubernetes.target import KubernetesTarget
from tests.conftest import MakeTopology
from tests.render.cluster import container_of, documents_of, find, objects_of
from tests.render.test_kubernetes_choices import POOL, notices_of


def test_an_existing_namespace_is_not_rendered(make_topology: MakeTopology) -> None:
    text = POOL + "kubernetes: {namespace: {name: tenant-7, create: false}}\n"
    rendering = KubernetesTarget().render(make_topology(text))

    assert not [each for each in documents_of(rendering.stream()) if each["kind"] == "Namespace"]
    assert {each["metadata"]["namespace"] for each in documents_of(rendering.stream())} == {
        "tenant-7"
    }
    assert "namespace.yaml" not in [file.path for file in rendering.files]
    assert "kubernetes.namespace tenant-7 is not rendered and must exist" in "\n".join(
        rendering.notices
    )


def ingress_sources(make_topology: MakeTopology, text: str, policy: str) -> Any:
    """Namespaces that a policy lets in; "*" for all, None for anywhere."""
    found = find(objects_of(make_topology(POOL + text)), "NetworkPolicy", policy)
    (rule,) = found["spec"]["ingress"]
    if "from" not in rule:
        return None
    return [
        each["namespaceSelector"].get("matchLabels", {}).get("kubernetes.io/metadata.name", "*")
        for each in rule["from"]
    ]


@pytest.mark.parametrize(
    ("text", "scrape", "api"),
    [
        ("api: {}\n", ["monitoring"], ["shop", "monitoring"]),
        ("api: {ingress: {host: a.example.com}}\n", ["monitoring"], ["*"]),
        ("api: {service_type: NodePort}\n", ["monitoring"], None),
        (
            "api: {ingress: {host: a.example.com}}\n"
            "kubernetes: {network: {api_from: [ingress-nginx], scrape_from: [prom]}}\n",
            ["prom"],
            ["shop", "ingress-nginx", "prom"],
        ),
        ("api: {}\nkubernetes: {network: {scrape_from: ['*']}}\n", ["*"], ["*"]),
        ("api: {}\nkubernetes: {network: {api_from: ['*']}}\n", ["monitoring"], ["*"]),
        (
            "api: {}\nkubernetes: {monitoring: none, network: {scrape_from: [prom]}}\n",
            ["prom"],
            ["shop", "prom"],
        ),
    ],
)
def test_metrics_and_the_api_are_open_to_the_namespaces_of_the_topology(
    make_topology: MakeTopology, text: str, scrape: Any, api: Any
) -> None:
    assert ingress_sources(make_topology, text, "allow-scrape") == scrape
    assert ingress_sources(make_topology, text, "allow-into-api") == api


def test_dns_is_where_the_cluster_has_it(make_topology: MakeTopology) -> None:
    text = POOL + "kubernetes: {network: {dns: {namespaces: [openshift-dns], ports: [5353]}}}\n"
    policy = find(objects_of(make_topology(text)), "NetworkPolicy", "allow-dns")

    (rule,) = policy["spec"]["egress"]

    assert rule["to"][0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "openshift-dns"
    }
    assert rule["ports"] == [
        {"protocol": "UDP", "port": 5353},
        {"protocol": "TCP", "port": 5353},
    ]


def test_no_dns_servers_and_no_scrapers_open_nothing(make_topology: MakeTopology) -> None:
    network = "{dns: {namespaces: [], cidrs: []}, scrape_from: []}"
    objects = objects_of(make_topology(POOL + f"kubernetes: {{network: {network}}}\n"))

    names = [each["metadata"]["name"] for each in objects if each["kind"] == "NetworkPolicy"]

    assert not {"allow-dns", "allow-scrape"} & {*names}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api: {ingress: {host: a.example.com}}\n", "network.api_from is not set"),
        (
            "api: {service_type: LoadBalancer}\nkubernetes: {network: {api_from: [web]}}\n",
            "network.api_from is ignored",
        ),
        ("", "only pods in namespace monitoring can read metrics"),
        ("", "pools.worker.resources sets neither cpu nor memory: a ResourceQuota rejects"),
        (
            "api: {resources: {requests: {cpu: 1}, limits: {ephemeral_storage: 1Gi}}}\n",
            "api.resources sets no memory: a ResourceQuota rejects these pods, and a node",
        ),
        (
            "api: {resources: {limits: {memory: 1Gi}}}\n",
            "api.resources sets no cpu: a ResourceQuota rejects these pods\n",
        ),
        (
            "logging: {file: {enabled: true, path: worker.log}}\n",
            "pools.worker.logging.file.path worker.log is not on a volume: only /tmp is writable",
        ),
        ("kubernetes: {image_pull_secrets: [a, b]}\n", "image_pull_secrets a, b must exist in"),
        ("api: {ingress: {host: a.b, tls_secret: t}}\n", "tls_secret t must exist in namespace"),
        (
            "kubernetes: {service_account: {create: false, annotations: {a: b}}}\n",
            "kubernetes.service_account.annotations are ignored",
        ),
        (
            "kubernetes: {labels: {team: a, bananas/pool: b, app.kubernetes.io/part-of: c}}\n",
            "kubernetes.labels bananas/pool, app.kubernetes.io/part-of is ignored",
        ),
        ("", "redis.managed.storage cannot be changed"),
        (
            "api: {autoscale: {min: 2, max: 4, requests_per_second: 50}}\n",
            "api.autoscale: a Deployment that was",
        ),
    ],
)
def test_notices_say_what_the_cluster_has_to_be_told(
    make_topology: MakeTopology, text: str, expected: str
) -> None:
    assert expected in notices_of(make_topology, POOL + text)


def test_scraping_is_denied_without_monitoring(make_topology: MakeTopology) -> None:
    objects = objects_of(make_topology(POOL + "kubernetes: {monitoring: none}\n"))

    worker = find(objects, "Deployment", "worker")
    names = [each["metadata"]["name"] for each in objects if each["kind"] == "NetworkPolicy"]

    assert "allow-scrape" not in names
    assert worker["spec"]["template"]
    # Probes still need the port; traffic from the node is always allowed.
    assert container_of(worker)["ports"] == [{"name": "metrics", "containerPort": METRICS_PORT}]
