"""How the Redis of our own is started, whatever starts its container."""

from __future__ import annotations

#: Where the official images keep the data.
DATA_DIRECTORY = "/data"
PORT = 6379

#: Exits 0 only for PONG: the client itself does so for any answer, errors included. Which variable
#: the client reads a password from changes with its version, so it is told.
PING = "printf 'AUTH %s\\nPING\\n' \"$REDISCLI_AUTH\" | redis-cli | grep -q PONG"

#: What a password may be, for it becomes part of a URL and of a line of settings as it is.
PASSWORD_PATTERN = r"[A-Za-z0-9_-]+"
PASSWORD_ADVICE = "REDIS_PASSWORD may hold letters, digits, - and _ only: openssl rand -hex 24"
_REFUSE_ODD_PASSWORD = (
    f'case "$REDISCLI_AUTH" in *[!A-Za-z0-9_-]*)\necho "{PASSWORD_ADVICE}" >&2\nexit 2;;\nesac\n'
)


def start_script(memory_bytes: int) -> str:
    """A shell script that becomes the server: durable, bounded, never evicting.

    `memory_bytes` is the container's limit. A quarter of it stays for what is beside the data:
    buffers, and the copy that a rewrite makes. The password comes from REDISCLI_AUTH, which is
    what the client reads, and goes in by standard input: a process list shows every argument.
    """
    return (
        f"{_REFUSE_ODD_PASSWORD}"
        f"exec redis-server --dir {DATA_DIRECTORY} --port {PORT} \\\n"
        '--appendonly yes --appendfsync everysec --save "" \\\n'
        f"--maxmemory {memory_bytes // 4 * 3} --maxmemory-policy noeviction - <<CONFIG\n"
        "requirepass $REDISCLI_AUTH\n"
        "CONFIG\n"
    )
