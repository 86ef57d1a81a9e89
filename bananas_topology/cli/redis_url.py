"""`bananas redis-url`: the URL of the server that a running `up` uses."""

from __future__ import annotations

from bananas_topology.cli.options import Overrides, TopologyFile
from bananas_topology.cli.topology import topology_files


def redis_url(
    files: TopologyFile = None,
    overrides: Overrides = None,
) -> None:
    """Print the Redis URL of a running `up`, including its password.

    For redis-cli, and for programs that are not started by `up`. The bundled server's password is
    generated once and stays the same.

    Examples:

        redis-cli -u "$(bananas redis-url)"

        export REDIS_URL="$(bananas redis-url)"
    """
    from bananas_topology.cli.server import running_up

    print(running_up(topology_files(files, overrides)).redis_url)
