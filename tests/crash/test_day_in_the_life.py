"""A day of production in a minute: everything that is done to a running topology, under load."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bananas_topology.client import Client, NewJob
from bananas_topology.supervisor.record import find
from bananas_topology.system.processes import start_time_token
from tests.cli.running import kill_what_runs, processes_of, record_of, succeed
from tests.cli.shell import Shell
from tests.crash.fleet import kill_server
from tests.jobs.servers import free_port
from tests.waiting import wait_for

TYPES = ("mail", "image", "report", "sync")
POOL_NAMES = ("worker", "quick", "slow", "batch", "extra")

#: Jobs in all, and topologies applied.
JOBS = 5000
APPLIED = 10

HANDLERS = """\
import time

from bananas_topology import JobContext, job


def effect(payload: int, context: JobContext) -> None:
    time.sleep(0.01)
    with open(f"effects/{payload}", "a") as file:
        file.write(f"{context.attempt}\\n")


for name in ("mail", "image", "report", "sync"):
    def handler(payload: int, context: JobContext) -> None:
        effect(payload, context)
    handler.__name__ = name
    globals()[name] = job(name)(handler)
"""


#: Python runs this when it starts. A run gets another port for its bundled server than the
#: well-known one, which another test's server would take while this one is dead.
SITE = """\
import sys

if "bananas_topology.local" in sys.orig_argv:
    from bananas_topology.jobs import bundled_server

    bundled_server.WELL_KNOWN_PORT = {port}
"""


def _topology(choose: random.Random) -> str:
    """A topology that accepts every type: pools with other names, sizes and types each time."""
    names = choose.sample(POOL_NAMES, choose.randint(1, 3))
    types: dict[str, list[str]] = {name: [] for name in names}
    for each in TYPES:
        types[choose.choice(names)].append(each)
    lines = [
        "version: 1",
        f"name: {choose.choice(('shop', 'store'))}",
        "handlers: [jobs]",
        "pools:",
    ]
    for number, name in enumerate(name for name in names if types[name]):
        sizes = f"replicas: {choose.randint(1, 2)}, concurrency: {choose.randint(2, 4)}"
        scheduler = str(number == 0).lower()
        accepted = f"mode: job-specialized, job_types: [{', '.join(types[name])}]"
        lines.append(f"  {name}: {{{accepted}, {sizes}, scheduler: {scheduler}}}")
    return "\n".join(lines) + "\n"


@dataclass
class Day:
    """What is done, and what has been done so far."""

    shop: Shell
    choose: random.Random = field(default_factory=lambda: random.Random(20260131))
    enqueued: int = 0
    processes: set[tuple[int, str | None]] = field(default_factory=set)
    slots_killed: int = 0

    @property
    def state(self) -> Path:
        return self.shop.directory / ".bananas" / "shop"

    def enqueue(self, number: int) -> None:
        """Enqueue the next jobs; remember the processes that run now."""
        pids = {each["pid"] for each in processes_of(self.shop).values() if each["pid"]}
        pids |= {record_of(self.shop).pid, self.server()}
        self.processes |= {(pid, start_time_token(pid)) for pid in pids}
        ids = range(self.enqueued, min(JOBS, self.enqueued + number))
        with Client(record_of(self.shop).redis_url) as client:
            client.enqueue_many(
                NewJob(self.choose.choice(TYPES), each, id=f"job-{each}") for each in ids
            )
        self.enqueued += len(ids)

    def server(self) -> int:
        """The process id of the bundled server; 0 while its file is being written."""
        text = (self.state / "server.lock").read_text()
        return int(json.loads(text)["pid"]) if text else 0

    def still_running(self) -> list[int]:
        """The processes that have been seen and still run; not others that got their ids."""
        known = [(pid, token) for pid, token in self.processes if token is not None]
        return [pid for pid, token in known if start_time_token(pid) == token]

    def apply(self) -> None:
        (self.shop.directory / "topology.yaml").write_text(_topology(self.choose))
        succeed(self.shop, "apply", "--yes")

    def scale(self) -> None:
        pool = next(iter(processes_of(self.shop).values()))["pool"]
        succeed(self.shop, "scale", f"{pool}=3")
        self.enqueue(100)
        succeed(self.shop, "scale", f"{pool}=1")

    def restart(self) -> None:
        succeed(self.shop, "restart")

    def kill_worker(self) -> None:
        victim = self.choose.choice(list(processes_of(self.shop).values()))
        self.slots_killed += victim["slots"]
        os.kill(victim["pid"], signal.SIGKILL)
        wait_for(lambda: _all_ready(self.shop))

    def kill_supervisor(self) -> None:
        self.slots_killed += sum(each["slots"] for each in processes_of(self.shop).values())
        os.kill(record_of(self.shop).pid, signal.SIGKILL)
        wait_for(lambda: find(self.shop.directory) is None)
        succeed(self.shop, "up", "-d")

    def kill_server(self) -> None:
        before = self.server()
        kill_server(record_of(self.shop).redis_url, before)
        wait_for(lambda: self.server() not in (0, before))
        wait_for(lambda: _all_ready(self.shop))


def _all_ready(shop: Shell) -> bool:
    return all(each["state"] == "ready" for each in processes_of(shop).values())


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    (tmp_path / "jobs.py").write_text(HANDLERS)
    (tmp_path / "effects").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE.format(port=free_port()))
    (tmp_path / "topology.yaml").write_text(
        "version: 1\nname: shop\nhandlers: [jobs]\n"
        "pools: {worker: {mode: thin, replicas: 2, concurrency: 4}}\n"
    )
    environ = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}
    environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tmp_path / "site")}
    yield Day(Shell(tmp_path, environ))
    kill_what_runs(tmp_path)


def test_every_job_has_its_effect_whatever_is_done_to_what_runs(day: Day) -> None:
    succeed(day.shop, "up", "-d")
    steps: list[Callable[[], None]] = [day.apply] * APPLIED
    for step in (day.scale, day.restart, day.kill_worker, day.kill_supervisor, day.kill_server):
        steps.insert(day.choose.randint(0, len(steps)), step)
    for step in steps:
        day.enqueue(JOBS // len(steps) + 1)
        step()
    day.enqueue(JOBS)
    effects = day.shop.directory / "effects"
    wait_for(lambda: len(list(effects.iterdir())) == JOBS, 120)
    wait_for(lambda: sum(each["busy"] for each in processes_of(day.shop).values()) == 0)
    succeed(day.shop, "down")

    runs = Counter(attempt for path in effects.iterdir() for attempt in path.read_text().split())
    assert set(runs) == {"1"}
    assert 0 <= runs["1"] - JOBS <= day.slots_killed
    assert day.still_running() == []
    kept = {"data", "logs", "server.lock", "server.log", "server.password", "topology.json"}
    assert {path.name for path in day.state.iterdir()} == {*kept, "up.lock"}
    assert [path.name for path in day.state.parent.iterdir() if path.is_dir()] == ["shop"]
