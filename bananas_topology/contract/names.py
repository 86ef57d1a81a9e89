"""Names that the topology, the processes and the rendered files have to agree on."""

from __future__ import annotations

import re

#: Components besides the pools; validation rejects a pool with one of these names.
SCHEDULER, API, REDIS = "scheduler", "api", "redis"

#: URL schemes of the Redis servers that clients can connect to.
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")

_SECRET_NAME = re.compile(
    r"(^|_)(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_KEY|CREDENTIALS?)($|_)", re.IGNORECASE
)


def is_secret_name(name: str) -> bool:
    """Whether a variable is probably a secret, by its name.

    >>> [is_secret_name(name) for name in ("DB_PASSWORD", "smtp_token", "PASSWORDLESS")]
    [True, True, False]
    """
    return _SECRET_NAME.search(name) is not None
