"""``python -m bananas_topology.api``: the HTTP API, configured by environment variables only.

Exit codes: 0 stopped by a signal; 1 REDIS_URL is unusable or the port is taken; 2 invalid settings
or missing packages; 77 Redis has denied access for a minute, restart it with its current password.
An unreachable server is not an error: see /readyz.
"""

from __future__ import annotations

import faulthandler
import sys

from bananas_topology.system.import_path import installed_first


def main() -> int:
    """Run the server and return its exit code."""
    faulthandler.enable()
    with installed_first():
        return _run()


def _run() -> int:
    from bananas_topology.contract.exit_codes import EXIT_CONFIG

    try:
        from bananas_topology.api.process import run
    except ModuleNotFoundError as error:
        if str(error.name).startswith("bananas_topology"):
            raise
        print(
            f"error: the api requires the module {error.name}; "
            "run pip install 'bananas-topology[api]'",
            file=sys.stderr,
        )
        return EXIT_CONFIG
    return run()


if __name__ == "__main__":
    sys.exit(main())
