"""What a policy scanner says of the manifests in the goldens."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.render.goldens import FOLDER, ROOT

#: Where the Makefile installs it; it pins its own versions of what we use too.
TOOLS = ROOT / ".venv-tools" / "bin"

#: Checks that may fail, and why; any other failed check is a fault of ours.
ACCEPTED = {
    "CKV_K8S_10": "how much CPU a pool asks for is its author's to say; a notice says it is not",
    "CKV_K8S_11": "a CPU limit is its author's choice: it slows jobs where nobody else wants it",
    "CKV_K8S_12": "how much memory a pool asks for is its author's to say; a notice says it is not",
    "CKV_K8S_13": "how much memory a pool may use is its author's to say; a notice says it is not",
    "CKV_K8S_14": "the image is the topology's; a notice asks for a version where it has none",
    "CKV_K8S_15": "a tag that does not move need not be looked up at each start; one that does is",
    "CKV_K8S_35": "the contract of a worker is its environment, in every place it is started",
    "CKV_K8S_43": "the image is the topology's: who wants a digest writes one, and gets it",
}


def _checkov() -> str | None:
    return shutil.which("checkov", path=f"{TOOLS}{os.pathsep}{os.environ.get('PATH', '')}")


@pytest.mark.skipif(_checkov() is None, reason="checkov is not installed: see the Makefile")
def test_a_policy_scan_of_the_goldens_finds_nothing_but_what_is_accepted() -> None:
    report = _scan(FOLDER / "k8s")

    failed = {
        (each["check_id"], each["check_name"], each["resource"])
        for each in report["results"]["failed_checks"]
    }
    assert report["summary"]["passed"] > 1000
    assert report["summary"]["parsing_errors"] == 0
    assert not [each for each in sorted(failed) if each[0] not in ACCEPTED]
    # A reason that is no longer needed goes.
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
