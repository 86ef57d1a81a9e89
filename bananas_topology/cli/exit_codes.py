"""Exit codes of the commands."""

from __future__ import annotations

OK = 0

#: The command failed, or its answer is negative: a topology with errors, a job that died.
FAILED = 1

#: The command line is invalid.
USAGE = 2

#: Interrupted by Ctrl-C before completion (128 + SIGINT).
INTERRUPTED = 130
