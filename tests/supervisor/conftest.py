from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bananas_topology.supervisor.sink import Sink
from tests.supervisor.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.write(write_end, b"\n")
    yield Stage(tmp_path, read_end, Sink(write_end))
    os.close(read_end)
    os.close(write_end)
