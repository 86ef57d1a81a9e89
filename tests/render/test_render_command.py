"""`bananas render` as it is typed: what goes where, and what is never overwritten."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TOPOLOGY = """\
version: 1
name: shop
image: ghcr.io/acme/shop:1.0
handlers: [shop.jobs]
pools:
  worker: {mode: default, secrets: [SMTP_PASSWORD]}
scheduler: {}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "topology.yaml").write_text(TOPOLOGY, "utf-8")
    return tmp_path


def render(
    folder: Path, *arguments: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bananas_topology", "render", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_stream_goes_to_standard_output_and_talk_to_standard_error(folder: Path) -> None:
    done = render(folder, "--k8s")

    assert done.returncode == 0
    kinds = [each["kind"] for each in yaml.safe_load_all(done.stdout)]
    assert kinds[0] == "Namespace"
    assert not {"Kustomization", "Secret"} & set(kinds)
    assert done.stderr.splitlines()[0].startswith("notice: kubernetes.secret shop-secrets has to")


def test_files_that_were_written_pass_the_check_until_something_changes(folder: Path) -> None:
    assert render(folder, "--k8s", "-o", "deploy").returncode == 0
    deploy = folder / "deploy"
    before = {path.name: path.read_bytes() for path in deploy.iterdir()}
    assert {"kustomization.yaml", "namespace.yaml", "pool-worker.yaml"} <= before.keys()

    assert render(folder, "--k8s", "-o", "deploy", "--check").stdout == ""

    config = deploy / "config.yaml"
    config.write_text(config.read_text("utf-8").replace("6061", "6062"), "utf-8")
    (deploy / "redis.yaml").unlink()
    (deploy / "pool-old.yaml").write_bytes(before["pool-worker.yaml"])
    done = render(folder, "--k8s", "-o", "deploy", "--check")

    assert done.returncode == 1
    assert '-  METRICS_PORT: "6062"\n+  METRICS_PORT: "6061"\n' in done.stdout
    assert "--- /dev/null\n+++ deploy/redis.yaml (rendered)\n" in done.stdout
    assert "--- deploy/pool-old.yaml\n+++ /dev/null\n" in done.stdout
    assert not (deploy / "redis.yaml").exists()

    again = render(folder, "--k8s", "-o", "deploy")

    assert "deploy/pool-old.yaml removed: it is no longer rendered" in again.stderr
    assert {path.name: path.read_bytes() for path in deploy.iterdir()} == before


def test_somebody_elses_file_is_neither_replaced_nor_removed(folder: Path) -> None:
    deploy = folder / "deploy"
    deploy.mkdir()
    (deploy / "notes.yaml").write_text("mine: true\n")
    (deploy / "config.yaml").write_text("mine: too\n")

    refused = render(folder, "--k8s", "-o", "deploy")

    assert refused.returncode == 1
    assert "error: deploy/config.yaml was not made by bananas render" in refused.stderr
    assert sorted(path.name for path in deploy.iterdir()) == ["config.yaml", "notes.yaml"]
    (deploy / "config.yaml").unlink()
    assert render(folder, "--k8s", "-o", "deploy").returncode == 0
    assert (deploy / "notes.yaml").read_text() == "mine: true\n"


def test_two_targets_and_two_topologies_live_in_one_folder(folder: Path) -> None:
    (folder / "other.yaml").write_text(TOPOLOGY.replace("shop", "other"), "utf-8")

    assert render(folder, "--k8s", "-o", ".").returncode == 0
    assert render(folder, "--compose", "-o", ".").returncode == 0
    assert render(folder, "--compose", "other.yaml", "-o", ".").returncode == 0

    assert (folder / "pool-worker.yaml").exists()
    assert "name: other" in (folder / "compose.yaml").read_text("utf-8")
    assert (folder / "topology.yaml").read_text("utf-8") == TOPOLOGY


def test_a_secret_is_a_file_for_its_owner_alone(folder: Path) -> None:
    values = {"REDIS_PASSWORD": "abc", "SMTP_PASSWORD": "def"}

    done = render(folder, "--k8s", "-o", "deploy", "--with-secrets", environ=values)

    assert done.returncode == 0, done.stderr
    path = folder / "deploy" / "secret.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (secret,) = yaml.safe_load_all(path.read_text("utf-8"))
    assert secret["stringData"]["SMTP_PASSWORD"] == "def"
    assert "abc" not in done.stdout + done.stderr
    # It is not part of the rendering: applied by hand, kept by later renders, no part of a check.
    assert "secret.yaml" not in (folder / "deploy" / "kustomization.yaml").read_text("utf-8")
    assert render(folder, "--k8s", "-o", "deploy").returncode == 0
    assert render(folder, "--k8s", "-o", "deploy", "--check").returncode == 0
    assert path.exists()


def test_a_secret_without_its_values_leaves_everything_as_it_was(folder: Path) -> None:
    done = render(folder, "--k8s", "-o", "deploy", "--with-secrets")

    assert done.returncode == 1
    assert "error: the Secret shop-secrets cannot be written: REDIS_PASSWORD, SMTP_PASSWORD" in (
        done.stderr
    )
    assert not (folder / "deploy").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected one of --compose, --k8s and --target NAME"),
        (["--compose", "--k8s"], "more than one given"),
        (["--k8s", "--check"], "needs -o DIR"),
        (["--k8s", "--with-secrets"], "a Secret is written to a file and nowhere else"),
        (["--compose", "-o", "x", "--with-secrets"], "goes with --k8s"),
    ],
)
def test_a_command_line_that_contradicts_itself_is_refused(
    folder: Path, arguments: list[str], expected: str
) -> None:
    done = render(folder, *arguments)

    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stdout == ""


def test_a_topology_with_errors_renders_nothing(folder: Path) -> None:
    (folder / "topology.yaml").write_text(TOPOLOGY + "pols: {}\n", "utf-8")

    done = render(folder, "--k8s", "-o", "deploy")

    assert done.returncode == 1
    assert "error BT103" in done.stderr
    assert not (folder / "deploy").exists()


def test_a_folder_that_cannot_be_written_is_said_in_one_line(folder: Path) -> None:
    (folder / "deploy").write_text("a file\n")

    done = render(folder, "--k8s", "-o", "deploy")

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: deploy")
