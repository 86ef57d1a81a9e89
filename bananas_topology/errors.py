"""The exception hierarchy, grouped by who must act: topology author, operator, producer, handler
author, maintainers.

Messages say what was expected, what was found, and what to do. An exception of a library is
translated into one of these once, where the library is called, with ``from error``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence


class BananasTopologyError(Exception):
    """The base class of all exceptions that Bananas raises deliberately."""


# For the topology's author; see also InvalidTopology in spec/diagnostics.py.


class RenderFailed(BananasTopologyError):
    """A topology cannot be rendered: unknown target, or a patch that does not apply."""


class PatchesFailed(RenderFailed):
    """Patches of a topology do not apply.

    ``failures`` has the path in the topology of each, such as ``("compose", "patches", 0)``, and a
    message.
    """

    def __init__(self, failures: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
        super().__init__("\n".join(message for _, message in failures))
        self.failures = tuple(failures)


# For the operator.


class InvalidEnvFile(BananasTopologyError):
    """A file of environment variables cannot be read, or has an error."""


class InvalidSettings(BananasTopologyError):
    """One or more environment variables have invalid values.

    ``problems`` has one message per variable: its name, its value, what was expected.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PortUnavailable(BananasTopologyError):
    """A process cannot listen on a port: it is in use, or the process may not; retrying may help.

    `variable` is what sets the port.
    """

    def __init__(self, variable: str, port: int, error: OSError) -> None:
        # Messages of the standard library repeat the address.
        reason = os.strerror(error.errno) if error.errno else str(error)
        super().__init__(
            f"{variable} is {port}: cannot listen on it: {reason}; set another port, or stop the "
            "process that uses it"
        )


class RedisUnavailable(BananasTopologyError):
    """The server cannot be reached, or does not answer in time; retrying may help."""


class RedisFull(RedisUnavailable):
    """The server is out of memory and takes no new jobs; workers continue.

    Sending again helps once jobs have expired, or an operator has made room.
    """


class RedisUnsuitable(BananasTopologyError):
    """The server answers but cannot be used: too old, access denied, or not Redis."""


class InvalidRedisUrl(RedisUnsuitable):
    """A Redis URL is not valid."""


class RedisAccessDenied(RedisUnsuitable):
    """Wrong password or missing permission: works again once an operator fixes it.

    A running worker may wait for that; a starting one should fail.
    """


class RequestRejected(RedisUnsuitable):
    """The server rejected one request, for its size for example, and would do so again.

    Other requests are not affected.
    """


class BundledServerFailed(BananasTopologyError):
    """The bundled server is not available for this platform, or did not start."""


class ControlFailed(BananasTopologyError):
    """A command for running processes failed: unknown pool, or nothing is running."""


class InvalidArgument(ControlFailed):
    """An argument of a command names something that does not exist, or is out of range."""


class ImportRefused(BananasTopologyError):
    """Files to import cannot be read, or do not describe a Bananas deployment."""


# For the producer.


class InvalidJob(BananasTopologyError):
    """A job cannot be enqueued: its type, priority, payload or time is not valid."""


class JobNotFound(BananasTopologyError):
    """No job has this id: it never existed, or its retention has expired."""


class ScheduleNotFound(BananasTopologyError):
    """No scheduler runs a schedule of this name."""


class ResultNotFound(BananasTopologyError):
    """The job has completed, but its result has expired, or was not to be kept."""


class InvalidCursor(BananasTopologyError):
    """A search cannot continue: the cursor is not one of an earlier page."""


class WrongJobState(BananasTopologyError):
    """The operation does not apply to a job in this state; the message names it."""


class WaitTimeout(BananasTopologyError):
    """The job did not finish within the timeout; it may still do so."""


class JobFailed(BananasTopologyError):
    """The awaited job is dead; the message is its last error."""


# For the handler's author.


class HandlerError(BananasTopologyError):
    """A handler module cannot be imported, or declares an invalid handler."""


class InvalidPayload(BananasTopologyError):
    """A payload does not match the handler's annotation."""


class JobTimeout(BaseException):
    """Raised inside a handler whose job timed out, or whose worker stops before it ends.

    It may be raised at any line. The handler has a second for its cleanup, and what it returns is
    discarded. Not an `Exception`, so that ``except Exception`` does not swallow it. In async
    handlers `asyncio.CancelledError` is raised instead.
    """


# For the maintainers.


class ContractViolation(BananasTopologyError):
    """An internal invariant was violated: a bug in Bananas, please report it."""
