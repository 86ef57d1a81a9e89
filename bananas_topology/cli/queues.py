"""`bananas queues`: queue depths and workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bananas_topology.cli import console
from bananas_topology.cli.options import AsFormat, Format, Overrides, RedisUrl, TopologyFile
from bananas_topology.cli.topology import topology_files

if TYPE_CHECKING:
    from bananas_topology.jobs.depths import QueueDepth, ReadyList
    from bananas_topology.jobs.inspect import Overview, WorkerView


#: Job types shown per priority and kind, those with the most jobs first. `--format json` has all.
_SHOWN_TYPES = 50


def queues(
    format: AsFormat = Format.TEXT,
    files: TopologyFile = None,
    overrides: Overrides = None,
    redis_url: RedisUrl = None,
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

    with inspecting(locate(redis_url, topology_files(files, overrides))) as inspector:
        state = inspector.overview()
    if format is Format.JSON:
        console.print_json(queues_json(state))
        return
    console.print_table(("queue", "jobs", "oldest", "note"), list(_queue_rows(state)))
    if state.workers:
        print()
        columns = ("worker", "pool", "running", "stuck", "concurrency", "host", "pid", "uptime")
        console.print_table(columns, [_worker_row(worker) for worker in state.workers])
    else:
        console.notice("no workers running")


def _queue_rows(state: Overview) -> Iterator[tuple[str, str, str, str]]:
    for depth in state.depths:
        yield depth.priority, f"{depth.shared.count:,}", console.age(depth.shared.oldest), ""
        yield from _type_rows(depth, depth.parked, "")
        yield from _type_rows(depth, depth.suspects, "isolated after worker crashes")
        if depth.omitted:
            yield f"{depth.priority}: more types", "", "", f"{depth.omitted:,} not counted"
    yield "scheduled", f"{state.backlog.scheduled:,}", "", ""
    yield "running", f"{state.backlog.running:,}", "", ""
    dead = "see `bananas dead list`" if state.backlog.dead else ""
    yield "dead", f"{state.backlog.dead:,}", "", dead
    yield "completed", f"{state.backlog.completed:,}", "", ""


def _type_rows(
    depth: QueueDepth, lists: Mapping[str, ReadyList], note: str
) -> Iterator[tuple[str, str, str, str]]:
    names = sorted(lists, key=lambda name: (-lists[name].count, name))
    for name in sorted(names[:_SHOWN_TYPES]):
        cause = "no handler" if name in depth.unhandled else note
        each = lists[name]
        yield f"{depth.priority}: {name}", f"{each.count:,}", console.age(each.oldest), cause
    if more := [lists[name].count for name in names[_SHOWN_TYPES:]]:
        yield f"{depth.priority}: {len(more):,} more types", f"{sum(more):,}", "", note


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
