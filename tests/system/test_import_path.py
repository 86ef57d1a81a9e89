from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bananas_topology
from bananas_topology.system.import_path import installed_first, is_standard


def test_what_is_installed_comes_first_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    standard = [entry for entry in sys.path if is_standard(entry)]
    beside = str(Path(bananas_topology.__file__).parents[1])
    entries = ["/app", beside, *standard, "/usr/lib/python3/dist-packages", "lib"]
    monkeypatch.setattr(sys, "path", entries[:])

    with installed_first():
        during = sys.path[:]

    assert len(standard) >= 2
    assert during == [*standard, beside, "/usr/lib/python3/dist-packages", "/app", "lib"]
    assert sys.path == entries


@pytest.mark.parametrize(
    ("module", "expected"),
    [("bananas_topology", "Usage: "), ("bananas_topology.api", "API_PORT")],
)
def test_a_module_in_the_working_directory_does_not_hide_one_that_is_used(
    tmp_path: Path, module: str, expected: str
) -> None:
    names = ("email", "queue", "http", "logging", "socket", "json", "typing", "redis", "msgspec")
    for name in (*names, "typer", "rich", "fastapi", "uvicorn"):
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
