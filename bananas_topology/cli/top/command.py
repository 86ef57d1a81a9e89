"""`bananas top`: a live view of pools, workers, queues and running jobs."""

from __future__ import annotations

import os
import select
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.durations import milliseconds
from bananas_topology.cli.options import Overrides, RedisUrl, TopologyFile
from bananas_topology.cli.topology import topology_files
from bananas_topology.errors import InvalidArgument

if TYPE_CHECKING:
    from bananas_topology.cli.server import Server
    from bananas_topology.cli.top.model import Model
    from bananas_topology.cli.top.source import Source
    from bananas_topology.cli.top.terminal import Terminal
    from bananas_topology.system.signals import SignalInbox

#: Seconds after which the screen is drawn again although nothing has arrived.
_TICK_S = 1.0

#: The shortest interval, in milliseconds: readings take a few themselves.
_MIN_INTERVAL_MS = 100

_Interval = Annotated[str, typer.Option(metavar="DURATION", help="Time between two readings.")]


def top(
    interval: _Interval = "1s",
    files: TopologyFile = None,
    overrides: Overrides = None,
    redis_url: RedisUrl = None,
) -> None:
    """Watch pools, workers, queues and running jobs live.

    Press ? for the keys: they sort, filter and pause, show the details of a job, and retry a dead
    one. With a topology, the number of workers is shown beside the replicas that it wants.

    Examples:

        bananas top

        bananas top --interval 5s --redis-url redis://db:6379/0
    """
    from bananas_topology.cli.server import locate

    if not (console.is_terminal(sys.stdin) and console.is_terminal(sys.stdout)):
        raise InvalidArgument("expected a terminal: use `bananas queues --format json` in scripts")
    interval_s = _interval_s(interval)
    server = locate(redis_url, topology_files(files, overrides))
    number = _run(server, interval_s)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise typer.Exit(128 + number if number else 0)


def _interval_s(text: str) -> float:
    interval_ms = milliseconds(text, "--interval")
    if interval_ms < _MIN_INTERVAL_MS:
        raise InvalidArgument(f"--interval is {text}; expected {_MIN_INTERVAL_MS}ms or more")
    return interval_ms / 1000


def _run(server: Server, interval_s: float) -> int:
    """Run until a key or a signal ends it; returns the signal, or 0."""
    from bananas_topology.cli.top.source import Source
    from bananas_topology.cli.top.terminal import Terminal
    from bananas_topology.system.signals import SignalInbox

    source = Source(server, interval_s)
    source.start()
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGWINCH)
    with SignalInbox(stops) as signals, Terminal() as terminal:
        return _loop(_model(server), source, terminal, signals)


def _model(server: Server) -> Model:
    from bananas_topology.cli.top.model import Model
    from bananas_topology.contract.redis_url import redact
    from bananas_topology.launch import wanted_replicas

    topology = server.topology
    if topology is None:
        return Model(title=redact(server.url))
    replicas = {pool.name: wanted_replicas(pool) for pool in topology.pools}
    return Model(title=f"{topology.name}  {redact(server.url)}", wanted_replicas=replicas)


def _loop(model: Model, source: Source, terminal: Terminal, signals: SignalInbox) -> int:
    from bananas_topology.cli.top.keys import Quit, Retry, press
    from bananas_topology.cli.top.model import receive
    from bananas_topology.cli.top.view import last_scroll, page_size, view
    from bananas_topology.system.clock import monotonic

    while True:
        size = terminal.size()
        terminal.draw(view(model, size, monotonic()), size)
        inputs: list[Terminal | Source | SignalInbox] = [terminal, source, signals]
        ready, _, _ = select.select(inputs, [], [], _TICK_S)
        for number in signals.drain() if signals in ready else ():
            if number == signal.SIGTSTP:
                _suspend(terminal)
            elif number != signal.SIGWINCH:
                return number
        for event in source.events() if source in ready else ():
            model = receive(model, event)
        keys = terminal.keys() if terminal in ready else []
        if keys is None:
            return signal.SIGHUP
        for key in keys:
            model, request = press(model, key, page_size(size), last_scroll(model, size))
            match request:
                case Quit():
                    return 0
                case Retry(job_id):
                    source.retry(job_id)
        source.want(model.wanted)


def _suspend(terminal: Terminal) -> None:
    """Leave the screen to the shell until it continues this process."""
    terminal.__exit__()
    os.kill(os.getpid(), signal.SIGSTOP)
    terminal.__enter__()
