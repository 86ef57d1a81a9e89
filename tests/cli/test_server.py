from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bananas_topology.cli.server import Server, locate
from bananas_topology.cli.topology import topology_files
from bananas_topology.errors import ControlFailed, RedisUnsuitable
from bananas_topology.supervisor.record import RunRecord, published_record, state_directory
from bananas_topology.system.processes import start_time_token

TOPOLOGY = "version: 1\nname: shop\nhandlers: [jobs]\npools: {worker: {mode: thin}}\n"
REDIS = "redis: {url: redis://topology, key_prefix: fruit}\n"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "REDIS_URL_FILE", "REDIS_PASSWORD_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("REDIS_KEY_PREFIX", raising=False)


def _write(text: str, path: str = "topology.yaml") -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(text)


@contextmanager
def _up(name: str = "shop", directory: str = ".") -> Iterator[None]:
    """The state file of a running `up`, for this process."""
    record = RunRecord(
        pid=os.getpid(),
        start_time_token=start_time_token(os.getpid()) or "",
        name=name,
        topology="topology.yaml",
        redis_url="redis://record",
        key_prefix="recorded",
        started_at="2026-01-01T00:00:00.000000Z",
    )
    with published_record(state_directory(Path(directory) / "topology.yaml", name), record):
        yield


def _locate(url: str | None, *files: Path) -> Server:
    return locate(url, topology_files(files, None))


def _where(server: Server) -> tuple[str, str]:
    return server.url, server.key_prefix


def test_server_and_password_come_from_the_files_that_a_pod_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _write("p/w\n", "secrets/password")
    _write("redis://app:url@db\n", "secrets/url")

    monkeypatch.setenv("REDIS_URL", "redis://environment/1")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", "secrets/password")
    assert _locate(None).url == "redis://:p%2Fw@environment/1"
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setenv("REDIS_URL_FILE", "secrets/url")
    assert _locate(None).url == "redis://app:p%2Fw@db"
    assert _locate("redis://asked").url == "redis://asked"

    Path("secrets/url").unlink()
    with pytest.raises(RedisUnsuitable, match=r"cannot read secrets/url"):
        _locate(None)


def test_server_comes_from_command_line_environment_topology_then_running_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _up():
        assert _where(_locate(None)) == ("redis://record", "recorded")
        _write(TOPOLOGY + REDIS)
        assert _where(_locate(None)) == ("redis://topology", "fruit")
        monkeypatch.setenv("REDIS_URL", "redis://environment")
        assert _where(_locate(None)) == ("redis://environment", "fruit")
        assert _where(_locate("redis://asked")) == ("redis://asked", "fruit")


def test_topology_without_a_url_uses_its_running_up() -> None:
    _write(TOPOLOGY)

    with _up("other"), _up():
        server = _locate(None)

    assert _where(server) == ("redis://record", "bananas")


def test_up_of_a_topology_elsewhere_is_found_where_it_was_started() -> None:
    _write(TOPOLOGY, "topologies/shop.yaml")

    with _up(), _up(directory="topologies"):
        assert _locate(None).url == "redis://record"
        assert _locate(None, Path("topologies/shop.yaml")).url == "redis://record"


def test_without_a_topology_the_environment_sets_the_prefix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _locate("redis://asked").key_prefix == "bananas"

    monkeypatch.setenv("REDIS_KEY_PREFIX", "mine")

    assert _locate("redis://asked").key_prefix == "mine"


def test_topology_with_errors_is_a_warning_while_its_up_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _write(TOPOLOGY.replace("thin", "thinn"))

    with _up():
        server = _locate(None)

    assert _where(server) == ("redis://record", "recorded")
    assert "warning: topology.yaml has errors" in capsys.readouterr().err


@pytest.mark.parametrize("url", [None, "redis://asked"])
def test_topology_with_errors_is_an_error_otherwise(url: str | None) -> None:
    _write(TOPOLOGY.replace("thin", "thinn"))

    with pytest.raises(ControlFailed, match=r"topology\.yaml has errors"):
        _locate(url)


def test_explicit_topology_must_exist() -> None:
    with pytest.raises(ControlFailed, match=r"other\.yaml"):
        _locate("redis://asked", Path("other.yaml"))


def test_warning_if_the_workers_here_use_another_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with _up():
        _locate("redis://app:s3cret@elsewhere")

    messages = capsys.readouterr().err
    assert "`bananas up` in this directory uses redis://record" in messages
    assert "s3cret" not in messages
