from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_an_external_server_whose_url_is_not_set_is_not_replaced_by_ours(tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").write_text(
        "version: 1\nname: shop\nhandlers: [jobs]\nredis: {url: '${REDIS_URL}'}\npools: {a: {}}\n"
    )
    environ = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}

    result = subprocess.run(
        [sys.executable, "-m", "bananas_topology", "up"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 1
    assert "redis.url in topology.yaml names a variable that is not set" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / ".bananas").exists()
