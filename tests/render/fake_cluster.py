"""As much of a Kubernetes API server as `kubectl apply --prune` talks to. Nothing runs in it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bananas_topology.render.patches import merge

#: Group and version to kinds: plural name and kind.
RESOURCES = {
    "v1": {
        "namespaces": "Namespace",
        "secrets": "Secret",
        "services": "Service",
        "serviceaccounts": "ServiceAccount",
        "persistentvolumeclaims": "PersistentVolumeClaim",
    },
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "networking.k8s.io/v1": {"ingresses": "Ingress", "networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
}


class FakeCluster(ThreadingHTTPServer):
    """Keeps objects by their path. `names` are the objects there are, as KIND NAME."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, dict[str, Any]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def names(self) -> set[str]:
        return {f"{each['kind']} {each['metadata']['name']}" for each in self.objects.values()}


@contextmanager
def running_cluster() -> Iterator[FakeCluster]:
    with FakeCluster() as cluster:
        thread = threading.Thread(target=cluster.serve_forever, daemon=True)
        thread.start()
        yield cluster
        cluster.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FakeCluster

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if (discovered := _discovery(url.path)) is not None:
            return self._answer(discovered)
        if url.path in self.server.objects:
            return self._answer(self.server.objects[url.path])
        plural = url.path.rpartition("/")[2]
        if not any(plural in kinds for kinds in RESOURCES.values()):
            return self._missing()
        (wanted,) = parse_qs(url.query).get("labelSelector", [""])
        items = [
            each
            for path, each in self.server.objects.items()
            if path.startswith(f"{url.path}/") and _is_selected(each, wanted)
        ]
        return self._answer({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})

    def do_POST(self) -> None:
        made = self._body()
        path = f"{urlsplit(self.path).path}/{made['metadata']['name']}"
        made["metadata"]["uid"] = path
        self.server.objects[path] = made
        self._answer(made, 201)

    def do_PATCH(self) -> None:
        path = urlsplit(self.path).path
        self.server.objects[path] = merge(self.server.objects[path], self._body())
        self._answer(self.server.objects[path])

    def do_DELETE(self) -> None:
        self._answer(self.server.objects.pop(urlsplit(self.path).path))

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _missing(self) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound"}
        self._answer({**status, "message": "not found", "code": 404}, 404)

    def _answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Not on standard error."""


def _discovery(path: str) -> dict[str, Any] | None:
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [
            {"groupVersion": each, "version": each.partition("/")[2]}
            for each in RESOURCES
            if "/" in each
        ]
        groups = [
            {
                "name": each["groupVersion"].partition("/")[0],
                "versions": [each],
                "preferredVersion": each,
            }
            for each in versions
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    group_version = path.removeprefix("/apis/").removeprefix("/api/")
    if group_version not in RESOURCES:
        return None
    verbs = ["create", "delete", "get", "list", "patch", "update"]
    resources = [
        {"name": plural, "kind": kind, "namespaced": kind != "Namespace", "verbs": verbs}
        for plural, kind in RESOURCES[group_version].items()
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


def _is_selected(each: dict[str, Any], wanted: str) -> bool:
    labels = each["metadata"].get("labels", {})
    pairs = [text.partition("=") for text in wanted.split(",") if text]
    return all(labels.get(name) == value for name, _, value in pairs)
