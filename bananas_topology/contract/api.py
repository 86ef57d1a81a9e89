"""The contract of the api process: some of a worker's settings, and its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from bananas_topology.contract.kinds import Kind, integer, name_list, split_list, text
from bananas_topology.contract.names import API
from bananas_topology.contract.settings import (
    Setting,
    check_exclusive,
    read_variables,
    setting,
    settings_of,
    write_variables,
)
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import InvalidSettings

#: A shorter token could be guessed.
MIN_TOKEN_LENGTH = 16


class Replicas(NamedTuple):
    """How many workers a pool is to have; equal numbers without an autoscaler."""

    minimum: int
    maximum: int


_POOL = re.compile(r"([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)=(\d{1,6})(?:-(\d{1,6}))?", re.ASCII)


def _read_pools(text: str) -> dict[str, Replicas]:
    pools: dict[str, Replicas] = {}
    for item in split_list(text):
        match = _POOL.fullmatch(item)
        if match is None:
            raise ValueError(f'expected POOL=N or POOL=MIN-MAX, separated by commas, got "{item}"')
        name, minimum, maximum = match.groups()
        pools[name] = Replicas(int(minimum), int(maximum or minimum))
    return pools


def _write_pools(pools: Mapping[str, Replicas]) -> str:
    """Write the numbers of workers by pool.

    >>> _write_pools({"mail": Replicas(3, 3), "io": Replicas(1, 20)})
    'mail=3,io=1-20'
    """
    return ",".join(
        f"{name}={each.minimum}" + (f"-{each.maximum}" if each.maximum != each.minimum else "")
        for name, each in pools.items()
    )


#: What is wrong with a read-only token that is no other one.
SAME_TOKENS = "API_READ_TOKEN is the same as API_TOKEN: expected another token"


def parse_token(value: str) -> str:
    """Check a token; ValueError says what was expected."""
    if len(value) < MIN_TOKEN_LENGTH or not value.isprintable() or not value.isascii():
        raise ValueError(f"expected at least {MIN_TOKEN_LENGTH} printable ASCII characters")
    return value


#: Origins as browsers send them: scheme, host, and port unless it is the scheme's.
ORIGINS = name_list(
    "origins such as `https://ops.example.com`, separated by commas",
    "origins such as https://ops.example.com",
    r"https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?",
    items="origin",
)


def _as_in_worker(name: str) -> Any:
    """The field of that name in `WorkerConfig`, described there."""
    shared = WorkerConfig.__dataclass_fields__[name]
    return setting(shared.default, **shared.metadata)


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """All settings of the api process. Without a `token` it listens on loopback only."""

    port: int = setting(
        8080, "API_PORT", integer(1, 65_535), "Port to listen on", "port", sections=(API,)
    )
    token: str = setting(
        "", "API_TOKEN", Kind(f"{MIN_TOKEN_LENGTH} characters or more", parse_token),
        "Bearer token that clients must send", is_secret=True,
    )  # fmt: skip
    token_file: str = setting(
        "", "API_TOKEN_FILE", text("a path"),
        "File with the token, instead of API_TOKEN; read again when it changes",
    )  # fmt: skip
    read_token: str = setting(
        "", "API_READ_TOKEN", Kind(f"{MIN_TOKEN_LENGTH} characters or more", parse_token),
        "Bearer token of clients that only read, such as dashboards; requires API_TOKEN",
        is_secret=True,
    )  # fmt: skip
    read_token_file: str = setting(
        "", "API_READ_TOKEN_FILE", text("a path"),
        "File with the read-only token, instead of API_READ_TOKEN; read again when it changes",
    )  # fmt: skip
    cors_origins: tuple[str, ...] = setting(
        (), "API_CORS_ORIGINS", ORIGINS,
        "Origins whose web pages may send requests (CORS); requires API_TOKEN",
        "cors_origins", sections=(API,), when_unset="none",
    )  # fmt: skip
    pools: Mapping[str, Replicas] = setting(
        dict, "API_POOLS",
        Kind("`POOL=N` or `POOL=MIN-MAX`, separated by commas", _read_pools, _write_pools),
        "Workers that each pool is to have, to report beside those that live",
    )  # fmt: skip
    redis_url: str = _as_in_worker("redis_url")
    redis_url_file: str = _as_in_worker("redis_url_file")
    redis_password_file: str = _as_in_worker("redis_password_file")
    key_prefix: str = _as_in_worker("key_prefix")
    log_level: str = _as_in_worker("log_level")
    log_format: str = _as_in_worker("log_format")
    log_color: bool = _as_in_worker("log_color")


#: The api's settings in the order of the documentation and of rendered manifests.
API_SETTINGS: tuple[Setting, ...] = settings_of(ApiConfig)


def api_from_env(env: Mapping[str, str]) -> ApiConfig:
    """Read the api's settings; an empty variable counts as not set.

    Raises:
        InvalidSettings: with one sentence for each invalid variable.
    """
    values, problems = read_variables(env, API_SETTINGS)
    problems += check_exclusive(env, "REDIS_URL", "REDIS_URL_FILE")
    problems += check_exclusive(env, "API_TOKEN", "API_TOKEN_FILE")
    problems += check_exclusive(env, "API_READ_TOKEN", "API_READ_TOKEN_FILE")
    config = ApiConfig(**values)
    if not problems:
        problems += _check_tokens(config)
    if problems:
        raise InvalidSettings(problems)
    return config


def _check_tokens(config: ApiConfig) -> list[str]:
    if not (config.read_token or config.read_token_file):
        return []
    if not (config.token or config.token_file):
        return ["API_READ_TOKEN is set without API_TOKEN: set both"]
    if config.read_token and config.read_token == config.token:
        return [SAME_TOKENS]
    return []


def api_to_env(config: ApiConfig) -> dict[str, str]:
    """Write the variables that `api_from_env` reads back, without secrets."""
    return write_variables(config, [each for each in API_SETTINGS if not each.is_secret])
