"""The acceptance test of a render target: the built-in ones and any that is installed.

A target that passes is pure, names the topology in each file, renders no secret and leaves out no
pool.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import yaml

from bananas_topology.errors import RenderFailed
from bananas_topology.render.target import (
    HEADER_MARK,
    Rendering,
    find_target,
    target_names,
)
from bananas_topology.spec.load import load
from bananas_topology.spec.model import Topology
from tests.render.cluster import ALL_TOPOLOGIES
from tests.render.goldens import topology_id

#: The smallest possible target of a third party.
TOY = """
from bananas_topology.render.target import File, Rendering, header


class Toy:
    name = "toy"

    def render(self, topology):
        pools = "".join(f"{pool.name}: {pool.replicas}\\n" for pool in topology.pools)
        notices = ("redis is ignored: a toy has none",)
        return Rendering((File("toy/pools.yaml", header(topology, "toy") + pools),), notices)
"""

BUILT_IN = ("compose", "k8s", "systemd")

each_target = pytest.mark.parametrize("target", [*target_names(), "toy"])
each_topology = pytest.mark.parametrize("path", ALL_TOPOLOGIES, ids=topology_id)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of installed packages with the toy target and two that are broken."""
    site = tmp_path_factory.mktemp("site")
    (site / "bananas_toy.py").write_text(TOY, "utf-8")
    information = site / "bananas_toy-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: bananas-toy\nVersion: 1.0\n"
    )
    (information / "entry_points.txt").write_text(
        "[bananas_topology.render_targets]\n"
        "toy = bananas_toy:Toy\nbroken = bananas_toy:Nothing\nnone = builtins:dict\n"
    )
    return site


@pytest.fixture(autouse=True)
def _installed(site: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield


def render(target: str, topology: Topology) -> Rendering:
    return find_target(target).render(topology)


@each_target
@each_topology
def test_a_rendering_depends_only_on_the_topology(target: str, path: Path) -> None:
    topology = load(path, {})

    rendering = render(target, topology)

    assert render(target, topology) == rendering
    # The path of the file must not matter.
    assert render(target, replace(topology, path=Path("/elsewhere/t.yaml"))) == rendering


@each_target
def test_a_rendering_is_the_same_bytes_in_another_process(target: str, site: Path) -> None:
    path = ALL_TOPOLOGIES[-1]
    streams = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "bananas_topology", "render", "--target", target, str(path)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        streams.append(done.stdout)

    assert streams[0] == streams[1] == render(target, load(path, {})).stream().encode()


@each_target
@each_topology
def test_every_file_names_its_command_and_topology(target: str, path: Path) -> None:
    topology = load(path, {})
    option = f"--{target}" if target in BUILT_IN else f"--target {target}"

    for file in render(target, topology).files:
        made_by, made_from, *_ = file.text.splitlines()
        assert made_by == f"{HEADER_MARK} {option}"
        assert made_from == f"# Topology: {topology.name}"
        assert file.text.endswith("\n")
        assert not file.text.endswith("\n\n")
        assert not PurePosixPath(file.path).is_absolute()
        assert ".." not in PurePosixPath(file.path).parts


@each_target
@each_topology
def test_a_stream_is_valid_with_every_pool(target: str, path: Path) -> None:
    topology = load(path, {})

    rendering = render(target, topology)

    if rendering.files[0].path.endswith(".yaml"):
        assert rendering.stream().startswith("---\n")
        assert list(yaml.safe_load_all(rendering.stream()))
    for pool in topology.pools:
        assert pool.name in rendering.stream()


@each_target
def test_no_secret_is_rendered(target: str) -> None:
    topology = load(ALL_TOPOLOGIES[-1], {"REDIS_URL": "redis://u:s3cret-of-redis@secret.host:1/0"})

    rendering = render(target, topology)

    for text in (*(file.text for file in rendering.files), *rendering.notices):
        assert "s3cret" not in text
        assert "secret.host" not in text


@each_target
@each_topology
def test_a_notice_is_a_single_line(target: str, path: Path) -> None:
    for notice in render(target, load(path, {})).notices:
        assert notice.strip() == notice
        assert "\n" not in notice
        assert len(notice) > 20


def test_a_third_partys_target_is_found() -> None:
    assert target_names() == (*BUILT_IN, "broken", "none", "toy")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "nomad",
            'unknown target "nomad"; expected one of compose, k8s, systemd, broken, none, toy',
        ),
        ("broken", 'target "broken" .* cannot be loaded: AttributeError'),
        ("none", 'target "none" is a dict; expected an object with name and render'),
    ],
)
def test_the_error_names_a_target_that_cannot_be_used(name: str, expected: str) -> None:
    with pytest.raises(RenderFailed, match=expected):
        find_target(name)
