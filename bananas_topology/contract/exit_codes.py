"""Exit codes of the worker and api processes; docs/operations.md lists them for operators."""

from __future__ import annotations

#: Exit code of a worker or api that cannot use the server, or its port.
EXIT_FAILED = 1

#: Exit code for invalid settings or handlers: starting again would not help.
EXIT_CONFIG = 2

#: Exit code of a worker that drained because jobs that cannot be stopped hold too many of its
#: threads: it is to be started again, and did not crash.
EXIT_RESTART = 75

#: Exit code of a worker that drained because it reached `max_jobs`, `max_memory` or `max_age`.
EXIT_RECYCLE = 76

#: Exit code of a worker or api whose server has denied access for a minute, and that reads its
#: password only when it starts: it is to be started with the current one.
EXIT_ACCESS_DENIED = 77

#: Exit codes that ask for a restart and are no crash.
RESTART_CODES = frozenset({EXIT_RESTART, EXIT_RECYCLE, EXIT_ACCESS_DENIED})
