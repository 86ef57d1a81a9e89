from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FIXTURES = Path(__file__).parents[1] / "importer" / "fixtures"


def _bananas(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bananas_topology", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    directory = tmp_path / "shop"
    directory.mkdir()
    for fixture in FIXTURES.glob("*.yml"):
        (directory / fixture.name).write_bytes(fixture.read_bytes())
    return directory


def test_topology_goes_to_standard_output_and_report_to_standard_error(shop: Path) -> None:
    done = _bananas("import", "docker-compose-specialized.yml", cwd=shop)

    assert done.returncode == 0
    assert yaml.safe_load(done.stdout)["name"] == "shop"
    assert "docker-compose-specialized.yml:7: mistake: services.redis.command" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("97 fields: ")
    assert "kept: services" not in done.stderr


def test_written_topology_is_valid(shop: Path) -> None:
    done = _bananas("import", "k8s-deployment.yml", "k8s-hpa.yml", "-o", "topology.yaml", cwd=shop)

    assert (done.returncode, done.stdout) == (0, "")
    assert _bananas("validate", cwd=shop).returncode == 0


def test_existing_file_is_not_overwritten(shop: Path) -> None:
    (shop / "topology.yaml").write_text("mine")

    done = _bananas("import", "docker-compose-thin.yml", "-o", "topology.yaml", cwd=shop)

    assert done.returncode == 1
    assert (
        done.stderr == "error: topology.yaml already exists; choose another name or use --force\n"
    )
    assert (shop / "topology.yaml").read_text() == "mine"


def test_full_report_lists_every_field(shop: Path) -> None:
    done = _bananas("import", "docker-compose-thin.yml", "--report", "full", cwd=shop)

    assert "kept: services.worker.environment[1]: WORKER_CONCURRENCY=5" in done.stderr


def test_json_report_includes_every_field_and_the_topology(shop: Path) -> None:
    done = _bananas("import", "docker-compose-thin.yml", "--report", "json", cwd=shop)

    report = json.loads(done.stdout)
    assert yaml.safe_load(report["topology"])["pools"] == {"worker": {"mode": "thin"}}
    assert {each["status"] for each in report["fields"]} == {"kept", "translated", "mistake"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot read other.yml: No such file or directory"),
        (b"services: {db: {image: 'postgres:16'}}", "not a Bananas deployment: looked for"),
        (b"\xff", "not valid UTF-8"),
        (b"a: [", "other.yml:2:1: not valid YAML"),
    ],
)
def test_file_that_cannot_be_imported_is_rejected_on_one_line(
    shop: Path, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (shop / "other.yml").write_bytes(content)

    done = _bananas("import", "other.yml", cwd=shop)

    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
