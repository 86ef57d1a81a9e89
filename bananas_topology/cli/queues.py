"""`bananas queues`: queue depths and workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bananas_topology.cli import console
from bananas_topology.cli.options import AsFormat, Format, RedisUrl, TopologyFile

if TYPE_CHECKING:
    from bananas_topology.jobs.inspect import Backlog, QueueDepth, WorkerView


@dataclass(frozen=True, slots=True)
class _State:
    backlog: Backlog
    depths: Sequence[QueueDepth]
    workers: Sequence[WorkerView]


def queues(
    format: AsFormat = Format.TEXT, file: TopologyFile = None, redis_url: RedisUrl = None
) -> None:
    """Show queue depths and workers.

    Job types without a handler in any running worker are marked; their jobs stay queued until a
    worker with the handler starts. In a pipe, fields are separated by tabs.

    Examples:

        bananas queues

        watch bananas queues

        bananas queues --format json | jq .queues.high.ready
    """
    from bananas_topology.cli.server import inspecting, locate
    from bananas_topology.jobs.views import queues_json

    with inspecting(locate(redis_url, file)) as inspector:
        state = _State(inspector.backlog(), inspector.depths(), inspector.workers())
    if format is Format.JSON:
        console.print_json(queues_json(state.backlog, state.depths, state.workers))
        return
    console.print_table(("queue", "jobs", "oldest", "note"), list(_queue_rows(state)))
    if state.workers:
        print()
        columns = ("worker", "pool", "running", "stuck", "concurrency", "host", "pid", "uptime")
        console.print_table(columns, [_worker_row(worker) for worker in state.workers])
    else:
        console.notice("no workers running")


def _queue_rows(state: _State) -> Iterator[tuple[str, str, str, str]]:
    for depth in state.depths:
        yield depth.priority, f"{depth.ready:,}", console.age(depth.oldest), ""
        for job_type, count in depth.parked.items():
            note = "no handler" if job_type in depth.unhandled else ""
            yield f"{depth.priority}: {job_type}", f"{count:,}", "", note
        for job_type, count in depth.suspects.items():
            is_unhandled = job_type in depth.unhandled
            note = "no handler" if is_unhandled else "isolated after worker crashes"
            yield f"{depth.priority}: {job_type}", f"{count:,}", "", note
    yield "scheduled", f"{state.backlog.scheduled:,}", "", ""
    yield "running", f"{state.backlog.running:,}", "", ""
    dead = "see `bananas dead list`" if state.backlog.dead else ""
    yield "dead", f"{state.backlog.dead:,}", "", dead
    yield "completed", f"{state.backlog.completed:,}", "", ""


def _worker_row(worker: WorkerView) -> tuple[str, ...]:
    return (
        worker.worker_id,
        worker.pool,
        str(worker.running),
        str(worker.stuck),
        str(worker.concurrency),
        worker.host,
        str(worker.pid),
        console.age(worker.started_at),
    )
