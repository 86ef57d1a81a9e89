"""``python -m bananas_topology.worker``: see main.py."""

from __future__ import annotations

from bananas_topology.system.import_path import installed_first

with installed_first():
    from bananas_topology.worker.main import exit_process, main

if __name__ == "__main__":
    exit_process(main())
