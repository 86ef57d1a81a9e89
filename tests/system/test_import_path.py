from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bananas_topology.system.import_path import is_standard, standard_library_first


def test_the_standard_library_comes_first_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    standard = [entry for entry in sys.path if is_standard(entry)]
    entries = ["/app", *standard, "/usr/lib/python3/dist-packages", "lib"]
    monkeypatch.setattr(sys, "path", entries[:])

    with standard_library_first():
        during = sys.path[:]

    assert len(standard) >= 2
    assert during == [*standard, "/app", "/usr/lib/python3/dist-packages", "lib"]
    assert sys.path == entries


@pytest.mark.parametrize(
    ("module", "expected"),
    [("bananas_topology", "Usage: "), ("bananas_topology.api", "API_PORT")],
)
def test_a_module_in_the_working_directory_does_not_hide_the_standard_library(
    tmp_path: Path, module: str, expected: str
) -> None:
    for name in ("email", "queue", "http", "logging", "socket", "json"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('mine')\n")

    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=tmp_path,
        env={**os.environ, "API_PORT": "none"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
