"""The exception tree, by who must act: spec's author, operator, producer, handler's author, us.

Every message says what was met, what was expected and what to do. A library's exception is
translated into one of these once, at its door, with ``from error``.
"""

from __future__ import annotations


class BananasTopologyError(Exception):
    """The root: catching it catches everything Bananas raises on purpose."""


# The spec's author acts; see also InvalidTopology in spec/diagnostics.py.


class RenderFailed(BananasTopologyError):
    """A topology cannot be rendered as asked: no such target, or a patch that does not apply."""


# The operator acts.


class InvalidSettings(BananasTopologyError):
    """One or more environment variables hold values that the contract refuses.

    ``problems`` has one sentence a variable: its name, what was met, what was expected.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RedisUnavailable(BananasTopologyError):
    """The server cannot be reached, or does not answer in time; trying again may help."""


class RedisUnsuitable(BananasTopologyError):
    """The server answers, but cannot be used as it is: too old, wrong password, wrong kind."""


class RedisAccessDenied(RedisUnsuitable):
    """The password is wrong or something is not permitted: good again once an operator mends it.

    Who has been working already may wait for that; who starts had better say so and end.
    """


class EmbeddedServerFailed(BananasTopologyError):
    """The bundled server is not there for this platform, or did not start."""


class ControlFailed(BananasTopologyError):
    """A command for running processes could not be carried out (no such pool, none running)."""


class ImportRefused(BananasTopologyError):
    """Files to import cannot be read, or are not a deployment of Bananas."""


# The producer acts.


class InvalidJob(BananasTopologyError):
    """A job cannot be enqueued as given: its name, priority, payload or times are not valid."""


class JobNotFound(BananasTopologyError):
    """No job has this id: it never existed, or its retention has run out."""


class WaitTimeout(BananasTopologyError):
    """The job did not finish while we waited; it may still do so."""


class JobFailed(BananasTopologyError):
    """The job that was waited for is dead; the message is its last error."""


# The handler's author acts.


class HandlerError(BananasTopologyError):
    """A handler module cannot be imported, or what it declares does not fit."""


class InvalidPayload(BananasTopologyError):
    """A payload does not fit what the handler's annotation asks for."""


class JobTimeout(BananasTopologyError):
    """Raised inside a handler that ran longer than its job's timeout."""


# We act.


class ContractViolation(BananasTopologyError):
    """Something that cannot happen has: a defect of Bananas, please report it."""
