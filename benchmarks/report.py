"""The report: medians of all peers, then each target and whether it was reached."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.catalogue import PEERS
from benchmarks.figures import median
from benchmarks.own import BANANAS_SCENARIOS


@dataclass(frozen=True)
class Record:
    """One run of one scenario by one peer; `failure` instead of figures if it failed.

    `again`: measured later than the others, separately.
    """

    scenario: str
    peer: str
    run: int
    figures: Mapping[str, float]
    failure: str = ""
    again: bool = False


@dataclass(frozen=True)
class Results:
    """The records, read by scenario, peer and figure."""

    records: Sequence[Record]

    def with_again(self, records: Sequence[Record]) -> Results:
        """These, with `records` in the place of older ones of the same scenario and peer."""
        replaced = {(record.scenario, record.peer) for record in records}
        kept = [each for each in self.records if (each.scenario, each.peer) not in replaced]
        return Results([*kept, *(replace(record, again=True) for record in records)])

    def values(self, scenario: str, peer: str, figure: str) -> list[float]:
        return [
            record.figures[figure]
            for record in self.records
            if (record.scenario, record.peer) == (scenario, peer) and figure in record.figures
        ]

    def median(self, scenario: str, peer: str, figure: str = "jobs_per_s") -> float | None:
        values = self.values(scenario, peer, figure)
        return median(values) if values else None

    def best_python(self, scenario: str) -> float | None:
        """The fastest peer in Python, Bananas excluded."""
        others = [
            peer.name
            for peer in PEERS
            if peer.is_python and peer.module != "bananas" and peer.name != "huey-pinned"
        ]
        medians = [self.median(scenario, name) for name in others]
        return max((each for each in medians if each is not None), default=None)


@dataclass(frozen=True)
class Target:
    """A figure that must be at least (`is_floor`) or at most `bound`; None: informational."""

    name: str
    bound: float | None
    measure: Callable[[Results], float | None]
    unit: str = "times"
    is_floor: bool = True

    def requirement(self) -> str:
        """The bound as text."""
        sign = ">=" if self.is_floor else "<="
        return "-" if self.bound is None else f"{sign} {self.bound:,g} {self.unit}"

    def verdict(self, measured: float) -> str:
        """Whether the bound is kept."""
        if self.bound is None:
            return "-"
        is_kept = measured >= self.bound if self.is_floor else measured <= self.bound
        return "yes" if is_kept else "NO"


def _ours(scenario: str, figure: str = "jobs_per_s") -> Callable[[Results], float | None]:
    return lambda results: results.median(scenario, "bananas", figure)


def _ratio(
    over: Callable[[Results], float | None], under: Callable[[Results], float | None]
) -> Callable[[Results], float | None]:
    def ratio(results: Results) -> float | None:
        above, below = over(results), under(results)
        return above / below if above is not None and below else None

    return ratio


def _of(peer: str, scenario: str) -> Callable[[Results], float | None]:
    return lambda results: results.median(scenario, peer)


def _best(scenario: str) -> Callable[[Results], float | None]:
    return lambda results: results.best_python(scenario)


TARGETS: tuple[Target, ...] = (
    Target("throughput of one process, to the fastest Python peer", 5.0,
           _ratio(_ours("drain"), _best("drain"))),
    Target("the same, to Huey pinned to one core", None,
           _ratio(_ours("drain"), _of("huey-pinned", "drain"))),
    Target("the same, to BullMQ", 1.0, _ratio(_ours("drain"), _of("bullmq", "drain"))),
    Target("two processes to one", 1.5, _ours("scale", "ratio_two")),
    Target("server's core in use with one process", None, _ours("scale", "server_busy_one"), ""),
    Target("concurrency 50 to 10", 1.0, _ours("scale", "ratio_fifty")),
    Target("enqueue one by one, to the fastest Python peer", 0.9,
           _ratio(_ours("enqueue"), _best("enqueue"))),
    Target("bulk enqueue", 50_000, _ours("bulk"), "jobs/s"),
    Target("idle wake-up, p50", 1.0, _ours("wake", "p50_ms"), "ms", is_floor=False),
    Target("idle wake-up, p99", 4.0, _ours("wake", "p99_ms"), "ms", is_floor=False),
    Target("jobs not run after kill -9", 0, _ours("kill", "not_run"), "jobs", is_floor=False),
    Target("high jobs amid low ones, p99", 15.0, _ours("flood", "p99_ms"), "ms", is_floor=False),
    Target("throughput with 1,000,000 jobs queued, to 10,000", 0.9, _ours("backlog", "ratio")),
    Target("eight types in two pools, to no filter", 0.6, _ours("types", "ratio")),
    Target("first job behind 200,000 of other types", 3.0, _ours("first", "after_s"), "s",
           is_floor=False),
    Target("memory per job above 1.3 JSON + 200 bytes, payload 100", 0.0,
           _ours("memory", "over_limit_100"), "bytes", is_floor=False),
    Target("the same, payload 1,000", 0.0, _ours("memory", "over_limit_1000"), "bytes",
           is_floor=False),
    Target("commands of an idle worker", 3.0, _ours("idle", "commands_per_s"), "per second",
           is_floor=False),
    Target("POST /jobs, to a bare route of the framework and server", 0.5, _ours("api", "ratio")),
    Target("POST /jobs of 10,000, to enqueue_many", 0.5, _ours("api", "ratio_batch")),
    Target("CPU-bound handlers, two replicas to one", 1.5, _ours("crunch", "ratio")),
    Target("bananas validate to its imports", 3.0, _ours("validate", "ratio"), is_floor=False),
)  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns as wide as their widest cell.

    >>> print(table(["a", "b"], [["1", "22"]]))
    | a | b  |
    |---|----|
    | 1 | 22 |
    """
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, *rows)
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def number(value: float | None) -> str:
    """A figure rounded to its significant digits.

    >>> number(26123.4), number(3.14159), number(0.0), number(None)
    ('26,100', '3.14', '0', '-')
    """
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{round(value, -2):,.0f}"
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def peers_table(results: Results) -> str:
    """One line per peer that was measured."""
    names = {record.peer for record in results.records}
    rows = [
        [
            peer.title,
            *(number(results.median(each, peer.name)) for each in
              ("drain", "drain2", "enqueue", "bulk")),
            _pair(results, peer.name, "drain", "worker_us", "server_us"),
            _pair(results, peer.name, "wake", "p50_ms", "p99_ms"),
            _killed(results, peer.name),
        ]
        for peer in PEERS if peer.name in names
    ]  # fmt: skip
    head = ["no-op job, 100 bytes", "one process, jobs/s", "two processes", "enqueue one by one",
            "bulk enqueue", "CPU per job, worker / server, µs",
            "idle wake-up p50 / p99 ms", "kill -9 amid 1,000 jobs"]  # fmt: skip
    return table(head, rows)


def targets_table(results: Results) -> str:
    """Each target that was measured, and whether it was reached."""
    rows = []
    for target in TARGETS:
        measured = target.measure(results)
        if measured is not None:
            verdict = target.verdict(measured)
            rows.append([target.name, target.requirement(), number(measured), verdict])
    return table(["Bananas", "target", "measured", "reached"], rows)


def own_table(results: Results) -> str:
    """Every figure of the scenarios that only Bananas runs."""
    rows = []
    for scenario in BANANAS_SCENARIOS:
        records = [r for r in results.records if r.scenario == scenario.name and r.figures]
        for figure in records[0].figures if records else ():
            value = results.median(scenario.name, "bananas", figure)
            rows.append([scenario.title, figure, number(value)])
    return table(["scenario", "figure", "median"], rows)


def markdown(
    results: Results, versions: Mapping[str, str], machine: str, runs: int, kill_s: float
) -> str:
    """The whole report."""
    measured = {record.peer for record in results.records}
    setups = [
        f"- **{peer.title}** {versions.get(peer.name, '')}: {peer.setup}."
        for peer in PEERS if peer.name in measured
    ]  # fmt: skip
    failures = [
        f"- {record.peer}, {record.scenario}, run {record.run + 1}: {record.failure}"
        for record in results.records
        if record.failure
    ]
    parts = [
        "# Results",
        f"Medians of {runs} runs by `make bench`, taken in turns, on {machine}; "
        f"{versions.get('server', 'server unknown')}, persistence off. Figures drift with the "
        "machine; compare lines of one run only. [README.md](README.md) describes the method.",
        peers_table(results),
        f"kill -9: jobs not run {kill_s:g} s after the worker was restarted (jobs run twice; "
        "seconds until the last one ran).",
        "## Targets",
        targets_table(results),
        "## Scenarios of Bananas alone",
        own_table(results),
        "## Set-up",
        "\n".join(setups),
    ]
    again = {f"{record.scenario} of {record.peer}" for record in results.records if record.again}
    if again:
        parts.insert(2, f"Measured again later, separately: {', '.join(sorted(again))}.")
    if failures:
        parts += ["## Failures", "\n".join(failures)]
    return "\n\n".join(parts) + "\n"


def as_json(results: Results, versions: Mapping[str, str]) -> dict[str, object]:
    """The raw figures."""
    return {
        "machine": machine(),
        "versions": dict(versions),
        "records": [asdict(record) for record in results.records],
    }


def machine() -> str:
    """A short description of the machine."""
    with open("/proc/cpuinfo") as lines:
        cpu = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    with open("/proc/meminfo") as lines:
        kib = int(next(iter(lines)).split()[1])
    cores = len(_cores())
    return (
        f"{cores} cores ({', '.join(sorted(cpu)) or platform.machine()}), "
        f"{round(kib / 2**20)} GiB, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}"
    )


def _cores() -> list[str]:
    return [path.name for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*")]


def _pair(results: Results, peer: str, scenario: str, first: str, second: str) -> str:
    values = [results.median(scenario, peer, figure) for figure in (first, second)]
    return "-" if values[0] is None else " / ".join(map(number, values))


def _killed(results: Results, peer: str) -> str:
    not_run = results.median("kill", peer, "not_run")
    if not_run is None:
        return "-"
    twice = results.median("kill", peer, "run_twice")
    after = results.median("kill", peer, "last_after_s")
    return f"{number(not_run)} not run ({number(twice)} twice; {number(after)} s)"
