"""The systemd unit: what systemd itself says about it, and what it must contain."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from bananas_topology.render.systemd.target import SystemdTarget
from bananas_topology.spec.load import load
from tests.conftest import MakeTopology
from tests.render.cluster import ALL_TOPOLOGIES
from tests.render.goldens import assert_golden, topology_id

ANALYZE = shutil.which("systemd-analyze")

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="requires systemd-analyze")

#: The highest exposure that `systemd-analyze security` may find: 10 is a service without a sandbox.
MAX_EXPOSURE = 2.5


@pytest.mark.parametrize("path", ALL_TOPOLOGIES, ids=topology_id)
def test_a_rendering_equals_its_golden(path: Path) -> None:
    assert_golden(SystemdTarget().render(load(path, {})), path, "systemd")


def _unit(directory: Path, text: str) -> Path:
    """The unit, with programs that exist on this host."""
    path = directory / "bananas-test.service"
    path.write_text(re.sub(r"/srv/\S+/\.venv/bin/bananas", sys.executable, text))
    return path


@needs_systemd
@pytest.mark.parametrize("path", ALL_TOPOLOGIES, ids=topology_id)
def test_systemd_accepts_the_unit(path: Path, tmp_path: Path) -> None:
    [file] = SystemdTarget().render(load(path, {})).files
    unit = _unit(tmp_path, file.text)

    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )

    about_unit = [line for line in done.stderr.splitlines() if unit.name in line]
    assert about_unit == []
    assert done.returncode == 0, done.stderr


@needs_systemd
def test_systemd_finds_the_unit_hardened(tmp_path: Path) -> None:
    [file] = SystemdTarget().render(load(ALL_TOPOLOGIES[0], {})).files
    unit = _unit(tmp_path, file.text)

    done = subprocess.run(
        [str(ANALYZE), "security", "--offline=yes", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= MAX_EXPOSURE, done.stdout


def _service(text: str) -> dict[str, str]:
    parser = RawConfigParser(strict=False)
    # Documented to be replaced, though typed as a method.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return dict(parser["Service"])


def test_limits_are_those_of_all_processes_where_each_has_one(make_topology: MakeTopology) -> None:
    text = """
        handlers: [jobs]
        redis: {url: "redis://db"}
        pools:
          a: {mode: thin, concurrency: 1, replicas: 3, grace: 90s,
              resources: {limits: {cpu: 500m, memory: 512Mi}}}
          b: {mode: thin, concurrency: 1, grace: 30s, %s}
    """
    limited = "resources: {limits: {cpu: 1, memory: 1Gi}}"

    [file] = SystemdTarget().render(make_topology(text % limited)).files
    service = _service(file.text)
    assert service["CPUQuota"] == "250%"
    assert service["MemoryMax"] == str((3 * 512 + 1024 + 64) * 2**20)
    assert service["TimeoutStopSec"] == "125"

    [file] = SystemdTarget().render(make_topology(text % "replicas: 1")).files
    assert not {"CPUQuota", "MemoryMax"} & _service(file.text).keys()


def test_secrets_are_a_credential(make_topology: MakeTopology) -> None:
    [file] = (
        SystemdTarget()
        .render(
            make_topology(
                """
                handlers: [jobs]
                redis: {url: "${REDIS_URL}"}
                pools:
                  a: {mode: thin, concurrency: 1, secrets: [SMTP_PASSWORD]}
                """
            )
        )
        .files
    )

    service = _service(file.text)
    assert service["LoadCredential"] == "env:/etc/bananas-shop.env"
    assert service["ExecStart"].endswith("up topology.yaml --env-file %d/env")
    assert "# Required in /etc/bananas-shop.env, mode 0600: REDIS_URL, SMTP_PASSWORD" in file.text


def test_variables_of_existing_objects_are_in_the_credential_unless_optional(
    make_topology: MakeTopology,
) -> None:
    topology = make_topology(
        """
        handlers: [jobs]
        pools:
          a:
            mode: thin
            concurrency: 1
            env: {DATABASE_URL: {secret: db, key: url}, DSN: {config: dsn, optional: true}}
        """
    )

    [file] = SystemdTarget().render(topology).files

    # `up` does not start a pool without them.
    assert "# Required in /etc/bananas-shop.env, mode 0600: DATABASE_URL\n" in file.text
    assert _service(file.text)["ExecStart"].endswith("up topology.yaml --env-file %d/env")


def test_log_files_below_var_log_can_be_written(make_topology: MakeTopology) -> None:
    text = """
        handlers: [jobs]
        logging: {file: {enabled: true}}
        pools:
          a: {mode: thin, concurrency: 1}
          b: {priorities: [high], logging: {file: {path: /var/log/shop/b/worker.log}}}
          c: {priorities: [high], logging: {file: {path: /tmp/worker.log}}}
          d: {priorities: [high], logging: {file: {path: /data/logs/worker.log}}}
          e: {priorities: [high], logging: {file: {path: worker.log}}}
    """

    rendering = SystemdTarget().render(make_topology(text))

    assert _service(rendering.files[0].text)["LogsDirectory"] == "bananas shop/b"
    about_logs = [each for each in rendering.notices if "logging" in each]
    assert [each.partition(";")[0] for each in about_logs] == [
        "pools.d.logging.file.path: the service cannot write to /data/logs",
        "pools.e.logging.file.path: the service cannot write to .",
    ]


def test_what_only_containers_have_is_in_a_notice(make_topology: MakeTopology) -> None:
    rendering = SystemdTarget().render(
        make_topology(
            """
            handlers: [jobs]
            redis: {url: "redis://db", secret: {name: cache}}
            pools:
              a:
                mode: thin
                env_from: [{secret: app}]
                volumes: {cache: {path: /cache, temporary: 1Gi}}
                init: {migrate: {command: [migrate]}}
                priority_class: batch
                runtime_class: gvisor
                resources: {limits: {nvidia.com/gpu: 1, ephemeral_storage: 1Gi}}
            api: {volumes: {tls: {path: /etc/tls, secret: tls}}, publish: 9000}
            """
        )
    )

    fields = [each.partition(" is ignored: ")[0] for each in rendering.notices]
    assert fields == [
        "redis.secret",
        "pools.a.resources.limits nvidia.com/gpu",
        "pools.a.resources.limits.ephemeral_storage",
        "pools.a.env_from",
        "pools.a.volumes",
        "pools.a.init migrate",
        "pools.a.priority_class",
        "pools.a.runtime_class",
        "api.volumes",
        "api.publish",
    ]
