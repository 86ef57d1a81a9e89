"""The contract of the api process: the variables that it shares with a worker, and its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bananas_topology.contract.values import whole
from bananas_topology.contract.worker import VARIABLES, Variable, read_variables
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
    values, problems = read_variables(env, API_VARIABLES)
    if problems:
        raise InvalidSettings(problems)
    return ApiConfig(**values)


def api_to_env(config: ApiConfig) -> dict[str, str]:
    """Write the variables that `api_from_env` reads back, without the secret ones."""
    return {
        each.name: each.write(getattr(config, each.field))
        for each in API_VARIABLES
        if not each.secret
    }


def _token(text: str) -> str:
    if len(text) < MIN_TOKEN_LENGTH or not text.isprintable() or not text.isascii():
        raise ValueError(f"expected at least {MIN_TOKEN_LENGTH} printable ASCII characters")
    return text


#: All variables of the api: its own, then the shared ones in table order.
API_VARIABLES: tuple[Variable, ...] = (
    Variable("API_PORT", "port", whole(1, 65_535), str, "1 to 65535", "Where to listen"),
    Variable("API_TOKEN", "token", _token, str, f"{MIN_TOKEN_LENGTH} characters or more",
             "What callers have to bring", secret=True),
    *(each for each in VARIABLES if each.name in SHARED_VARIABLES),
)  # fmt: skip
