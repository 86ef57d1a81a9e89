"""How the managed Redis is started and reached; the same for every target."""

from __future__ import annotations

#: The data directory of the official images.
DATA_DIRECTORY = "/data"
PORT = 6379

#: Milliseconds that the server may take to write its data to disk when stopped.
STOP_MS = 60_000

#: Exits 0 only for PONG: the client itself exits 0 for any reply, errors included. AUTH is sent
#: explicitly, because clients differ in the variable that they read a password from.
PING = "printf 'AUTH %s\\nPING\\n' \"$REDISCLI_AUTH\" | redis-cli | grep -q PONG"

#: The variable, and the key of the Secret, with the password of the server and its clients.
PASSWORD_KEY = "REDIS_PASSWORD"
#: A valid password: it becomes part of a URL and of a configuration line without escaping.
PASSWORD_PATTERN = r"[A-Za-z0-9_-]+"
PASSWORD_ADVICE = (
    f"{PASSWORD_KEY} may contain only letters, digits, - and _; "
    "generate it with openssl rand -hex 24"
)
_REJECT_INVALID_PASSWORD = (
    f'case "$REDISCLI_AUTH" in *[!A-Za-z0-9_-]*)\necho "{PASSWORD_ADVICE}" >&2\nexit 2;;\nesac\n'
)


def start_script(memory_bytes: int) -> str:
    """A shell script that becomes the server: durable, with a memory limit, never evicting.

    `memory_bytes` is the container's limit. A quarter of it is reserved for buffers and for
    copy-on-write during a rewrite. The password comes from REDISCLI_AUTH, which redis-cli reads,
    and is passed on standard input, because a process list shows arguments.
    """
    return (
        f"{_REJECT_INVALID_PASSWORD}"
        f"exec redis-server --dir {DATA_DIRECTORY} --port {PORT} \\\n"
        '--appendonly yes --appendfsync everysec --save "" \\\n'
        f"--maxmemory {memory_bytes // 4 * 3} --maxmemory-policy noeviction - <<CONFIG\n"
        "requirepass $REDISCLI_AUTH\n"
        "CONFIG\n"
    )
