"""The command ``bananas``, also as ``python -m bananas_topology``."""

from __future__ import annotations

import signal

from bananas_topology.system.import_path import installed_first


def main() -> None:
    """Run the command line; Ctrl-C while it is still loading exits silently."""
    interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with installed_first():
        from bananas_topology.cli.main import main as run

        if interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()


if __name__ == "__main__":
    main()
