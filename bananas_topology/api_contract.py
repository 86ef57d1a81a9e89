"""The contract of the api process: the variables that it shares with a worker, and its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from bananas_topology.contract import VARIABLES
from bananas_topology.errors import InvalidSettings

#: Variables that mean to the api what they mean to a worker, in table order.
SHARED_VARIABLES = ("REDIS_URL", "REDIS_KEY_PREFIX", "LOG_LEVEL", "LOG_FORMAT", "LOG_COLOR")

#: Below this, a token could be guessed.
MIN_TOKEN_LENGTH = 16


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Everything that the api process is told. `token` empty: it listens on loopback only."""

    port: int = 8080
    token: str = ""
    redis_url: str = "redis://localhost:6379"
    key_prefix: str = "bananas"
    log_level: str = "info"
    log_format: str = "json"
    log_color: bool = True


def api_from_env(env: Mapping[str, str]) -> ApiConfig:
    """Read the api's settings; an empty variable counts as not set.

    Raises:
        InvalidSettings: with one sentence for each variable that is wrong.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, field, read in _rows():
        if not (text := env.get(name, "")):
            continue
        try:
            values[field] = read(text)
        except ValueError as error:
            is_secret = name in ("REDIS_URL", "API_TOKEN")
            problems.append(f"{name} is {'what it holds' if is_secret else repr(text)}: {error}")
    if problems:
        raise InvalidSettings(problems)
    return ApiConfig(**values)


def api_to_env(config: ApiConfig) -> dict[str, str]:
    """Write the variables that `api_from_env` reads back, without the secret ones."""
    written = {
        each.name: each.write(getattr(config, each.field))
        for each in VARIABLES
        if each.name in SHARED_VARIABLES and not each.secret
    }
    return {"API_PORT": str(config.port), **written}


def _rows() -> list[tuple[str, str, Any]]:
    known = {item.name for item in fields(ApiConfig)}
    shared = [
        (each.name, each.field, each.read)
        for each in VARIABLES
        if each.name in SHARED_VARIABLES and each.field in known
    ]
    return [("API_PORT", "port", _port), ("API_TOKEN", "token", _token), *shared]


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65_535):
        raise ValueError("expected a port from 1 to 65535")
    return int(text)


def _token(text: str) -> str:
    if len(text) < MIN_TOKEN_LENGTH or not text.isprintable() or not text.isascii():
        raise ValueError(f"expected at least {MIN_TOKEN_LENGTH} printable ASCII characters")
    return text
