from __future__ import annotations

from pathlib import Path

import pytest

from bananas_topology.api.token import Token
from bananas_topology.contract.api import api_from_env
from bananas_topology.contract.worker import from_env
from bananas_topology.errors import InvalidSettings

FIRST, SECOND = "a" * 16, "b" * 16


def write(path: Path, text: str) -> str:
    new = path.with_suffix(".new")
    new.write_text(f"{text}\n")
    new.replace(path)
    return str(path)


def test_a_token_in_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    token = Token("", write(tmp_path / "token", FIRST))
    assert token.is_set
    assert token.allows(f"Bearer {FIRST}")

    write(tmp_path / "token", SECOND)

    assert token.allows(f"bearer {SECOND}")
    assert not token.allows(f"Bearer {FIRST}")
    assert not token.allows("")


@pytest.mark.parametrize("text", ["short", "", "ü" * 20])
def test_a_file_without_a_valid_token_leaves_the_old_one_in_place(
    tmp_path: Path, text: str
) -> None:
    path = write(tmp_path / "token", FIRST)
    token = Token("", path)

    write(tmp_path / "token", text)
    assert token.allows(f"Bearer {FIRST}")
    (tmp_path / "token").unlink()
    assert token.allows(f"Bearer {FIRST}")
    assert not token.allows(f"Bearer {text}")

    with pytest.raises(InvalidSettings, match="API_TOKEN_FILE"):
        Token("", path)


def test_a_value_and_a_file_for_it_exclude_each_other() -> None:
    env = {"REDIS_URL": "redis://h", "REDIS_URL_FILE": "/u", "WORKER_HANDLERS": "json"}
    with pytest.raises(InvalidSettings, match="REDIS_URL and REDIS_URL_FILE are both set"):
        from_env(env)
    with pytest.raises(InvalidSettings, match="API_TOKEN and API_TOKEN_FILE are both set"):
        api_from_env({"API_TOKEN": FIRST, "API_TOKEN_FILE": "/t"})
