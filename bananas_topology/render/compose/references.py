"""Text for Compose to interpolate; all other text in a service is literal."""

from __future__ import annotations


class Reference(str):
    """Text with `${VARIABLE}` for Compose to interpolate."""


def required(name: str, hint: str = "set it in the environment or in .env") -> Reference:
    """A reference to a variable; Compose refuses to start without it and prints `hint`."""
    return Reference(f"${{{name}:?{hint}}}")
