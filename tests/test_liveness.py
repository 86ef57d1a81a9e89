from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bananas_topology import liveness
from tests.waiting import wait_for


def check_liveness(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bananas_topology.liveness", *options],
        env={**os.environ, "LIVENESS_FILE": str(path)},
        capture_output=True,
        text=True,
    )


def test_the_liveness_check_depends_on_the_age_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    liveness.touch(str(file))

    assert check_liveness(file).returncode == 0

    stalled_s = liveness.MAX_AGE_S + 5
    file.write_text(f"{time.monotonic() - stalled_s}\n")
    checked = check_liveness(file)
    assert checked.returncode == 1
    reported = re.search(r"worker loop stalled for (\d+) s; expected 30 s at most", checked.stderr)
    assert reported is not None, checked.stderr
    # The check starts a process, which takes seconds on a busy machine.
    assert stalled_s <= int(reported[1]) <= time.monotonic() - float(file.read_text()) + 1


def test_the_file_can_be_read_while_it_is_touched(tmp_path: Path) -> None:
    file, is_over = str(tmp_path / "alive"), threading.Event()

    def touch() -> None:
        while not is_over.is_set():
            liveness.touch(file)

    liveness.touch(file, is_starting=True)
    assert liveness.read(file)[1]
    toucher = threading.Thread(target=touch)
    toucher.start()
    try:
        wait_for(lambda: not liveness.read(file)[1])
        for _ in range(5_000):
            liveness.read(file)
    finally:
        is_over.set()
        toucher.join()


@pytest.mark.parametrize(
    ("content", "message"), [(None, "not found"), ("x", "cannot read a time from")]
)
def test_a_missing_or_invalid_liveness_file_counts_as_dead(
    tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "alive"
    if content is not None:
        file.write_text(content)

    checked = check_liveness(file)

    assert checked.returncode == 1
    assert message in checked.stderr
    assert "Traceback" not in checked.stderr
