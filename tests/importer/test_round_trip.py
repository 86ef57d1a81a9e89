"""Whatever a pool sets is still set after rendering the topology and importing the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bananas_topology.contract.settings import POOL, Setting
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.importer.importer import import_files
from bananas_topology.render.compose.target import ComposeTarget
from bananas_topology.render.kubernetes.target import KubernetesTarget
from bananas_topology.render.target import RenderTarget
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.model import Topology

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
    result = check_bytes(text.encode(), Path("topology.yaml"), {})
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
