"""``python -m bananas_topology`` is the command ``bananas``."""

from __future__ import annotations

from bananas_topology.cli.main import main

if __name__ == "__main__":
    main()
