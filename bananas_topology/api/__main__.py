"""``python -m bananas_topology.api``: the HTTP service, configured by its environment alone.

Exit codes: 0 stopped as asked; 1 REDIS_URL can be no server's, or the port is taken; 2 settings are
wrong, or what the api is made of is not installed. One that is away is waited for: see /readyz.
"""

from __future__ import annotations

import sys

from bananas_topology.contract.worker import EXIT_CONFIG


def main() -> int:
    """Serve, if what that takes is installed."""
    try:
        from bananas_topology.api.process import run
    except ModuleNotFoundError as error:
        if str(error.name).startswith("bananas_topology"):
            raise
        print(
            f"error: the api needs the module {error.name}: pip install 'bananas-topology[api]'",
            file=sys.stderr,
        )
        return EXIT_CONFIG
    return run()


if __name__ == "__main__":
    sys.exit(main())
