"""Parses the durations that options take."""

from __future__ import annotations

import typer

from bananas_topology.units import parse_duration_ms


def milliseconds(text: str, parameter: str) -> int:
    """Parse a duration such as ``30s``.

    Raises:
        typer.BadParameter: it is not a duration; says so about the `parameter`.
    """
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise typer.BadParameter(f'{error}, got "{text}"', param_hint=parameter) from error


def seconds(text: str, parameter: str) -> float:
    """The same, in seconds."""
    return milliseconds(text, parameter) / 1000
