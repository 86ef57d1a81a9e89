"""How the managed Redis is started and reached; the same for every target."""

from __future__ import annotations

#: The data directory of the official images.
DATA_DIRECTORY = "/data"
PORT = 6379

#: Milliseconds that the server may take to write its data to disk when stopped.
STOP_MS = 60_000

#: The variable, and the key of the Secret, with the password of the server and its clients.
PASSWORD_KEY = "REDIS_PASSWORD"
#: A valid password: it becomes part of a URL and of a configuration line without escaping.
PASSWORD_PATTERN = r"[A-Za-z0-9_-]+"
PASSWORD_ADVICE = (
    f"{PASSWORD_KEY} may contain only letters, digits, - and _; "
    "generate it with openssl rand -hex 24"
)
_REJECT_INVALID_PASSWORD = (
    f'case "$password" in ""|*[!A-Za-z0-9_-]*)\necho "{PASSWORD_ADVICE}" >&2\nexit 2;;\nesac\n'
)


def ping(password_file: str) -> str:
    """A shell command that exits with 0 if the server answers to the password in the file.

    The client exits with 0 for any reply, errors included, so the reply is checked. AUTH is sent
    explicitly, because clients differ in the variable that they read a password from.
    """
    return f"printf 'AUTH %s\\nPING\\n' \"$(cat {password_file})\" | redis-cli | grep -q PONG"


def start_script(memory_bytes: int, password_file: str) -> str:
    """A shell script that becomes the server: durable, with a memory limit, never evicting.

    `memory_bytes` is the container's limit. A quarter of it is reserved for buffers and for
    copy-on-write during a rewrite. The password is passed on standard input, because a process
    list shows arguments.
    """
    return (
        f"password=$(cat {password_file})\n"
        f"{_REJECT_INVALID_PASSWORD}"
        f"exec redis-server --dir {DATA_DIRECTORY} --port {PORT} \\\n"
        '--appendonly yes --appendfsync everysec --save "" \\\n'
        f"--maxmemory {memory_bytes // 4 * 3} --maxmemory-policy noeviction - <<CONFIG\n"
        "requirepass $password\n"
        "CONFIG\n"
    )
