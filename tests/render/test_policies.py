"""A policy scan of the manifests in the goldens."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.render.goldens import FOLDER, ROOT

#: Where the Makefile installs the scanner, which pins conflicting versions of shared dependencies.
TOOLS = ROOT / ".venv-tools" / "bin"

#: Checks that may fail, with reasons; any other failed check is a bug.
ACCEPTED = {
    "CKV_K8S_10": "the topology's author sets CPU requests; a notice reports missing ones",
    "CKV_K8S_11": "the topology's author decides on CPU limits: they slow jobs on idle nodes",
    "CKV_K8S_12": "the topology's author sets memory requests; a notice reports missing ones",
    "CKV_K8S_13": "the topology's author sets memory limits; a notice reports missing ones",
    "CKV_K8S_14": "the topology's author chooses the image; a notice reports unpinned ones",
    "CKV_K8S_15": "only a tag that may move is looked up at each start",
    "CKV_K8S_35": "workers are configured by environment variables on every target",
    "CKV_K8S_40": "OpenShift assigns the user, a high one",
    "CKV_K8S_43": "the topology's author may pin the image by digest",
}


def _checkov() -> str | None:
    return shutil.which("checkov", path=f"{TOOLS}{os.pathsep}{os.environ.get('PATH', '')}")


@pytest.mark.skipif(_checkov() is None, reason="checkov is not installed: see the Makefile")
def test_a_policy_scan_finds_only_accepted_failures() -> None:
    report = _scan(FOLDER / "k8s")

    failed = {
        (each["check_id"], each["check_name"], each["resource"])
        for each in report["results"]["failed_checks"]
    }
    assert report["summary"]["passed"] > 1000
    assert report["summary"]["parsing_errors"] == 0
    assert not [each for each in sorted(failed) if each[0] not in ACCEPTED]
    # No accepted check is obsolete.
    assert {each[0] for each in failed} == ACCEPTED.keys()


def _scan(folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [
            str(_checkov()),
            "--directory", str(folder),
            "--framework", "kubernetes",
            "--output", "json",
            "--skip-download",
            "--quiet", "--compact", "--soft-fail",
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report
