"""Parses ``POOL=N``, for `up --scale` and `scale`."""

from __future__ import annotations

import typer


def parse_scale(text: str, parameter: str) -> tuple[str, int]:
    """Parse ``pool=3``.

    Raises:
        typer.BadParameter: it has another form, or the number is out of range; says so about the
            `parameter`.
    """
    from bananas_topology.supervisor.plan import MAX_REPLICAS

    name, _, digits = text.partition("=")
    try:
        count = int(digits)
    except ValueError as error:
        raise typer.BadParameter(
            f'expected POOL=N such as worker-high=3, got "{text}"', param_hint=parameter
        ) from error
    if not 0 <= count <= MAX_REPLICAS:
        raise typer.BadParameter(
            f'expected 0 to {MAX_REPLICAS} replicas for pool "{name}", got {count}',
            param_hint=parameter,
        )
    return name, count
