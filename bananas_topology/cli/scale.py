"""Parses ``POOL=N``, for `up --scale` and `scale`."""

from __future__ import annotations

import typer


def parse_scale(text: str, parameter: str) -> tuple[str, int]:
    """Parse ``pool=3``.

    Raises:
        typer.BadParameter: it has another form; says so about the `parameter`.
    """
    name, _, count = text.partition("=")
    try:
        return name, int(count)
    except ValueError as error:
        raise typer.BadParameter(
            f'expected POOL=N such as worker-high=3, got "{text}"', param_hint=parameter
        ) from error
