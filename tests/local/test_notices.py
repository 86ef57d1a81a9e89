from __future__ import annotations

from pathlib import Path

from bananas_topology.local.notices import render_only
from bananas_topology.spec.load import check_bytes

TEXT = b"""
version: 1
name: shop
handlers: [shop.jobs]
pools:
  a:
    env_from: [{secret: b}]
    volumes: {cache: {path: /cache, temporary: 1Gi}}
    init: {migrate: {command: [migrate]}}
    resources: {limits: {nvidia.com/gpu: 1}}
  b: {priorities: [low], env: {URL: {secret: pg, key: uri}}}
api: {volumes: {cache: {path: /cache, temporary: 1Gi}}}
"""


def test_up_names_the_fields_that_only_rendered_output_has() -> None:
    topology = check_bytes(TEXT, Path("a.yaml"), {}).topology
    assert topology is not None
    first, second = ((pool, 1) for pool in topology.pools)

    found = [text.partition(":")[0] for text in render_only((first, second), topology.api)]
    assert found == [
        "pools.a.env_from, pools.a.volumes, pools.a.init, pools.a.resources.limits",
        "api.volumes",
    ]
    assert list(render_only((second,), None)) == []
    assert list(render_only(((topology.pools[0], 0),), None)) == []
