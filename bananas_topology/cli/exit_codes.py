"""What the commands exit with, by name."""

from __future__ import annotations

OK = 0

#: What was asked could not be done, or the answer is no: a topology with errors, a job that died.
FAILED = 1

#: The command line itself is wrong.
USAGE = 2

#: Stopped by Ctrl-C before it was done (128 + SIGINT).
INTERRUPTED = 130
