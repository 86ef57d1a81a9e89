"""What was measured, as a table to read: medians, then what was promised and whether it held."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.catalogue import PEERS
from benchmarks.figures import median
from benchmarks.own import FOR_US


@dataclass(frozen=True)
class Record:
    """One run of one scenario by one peer; `failure` instead of figures when it did not work.

    `again`: measured later than the others, without them.
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
        """These, but for what was measured again."""
        anew = {(record.scenario, record.peer) for record in records}
        kept = [each for each in self.records if (each.scenario, each.peer) not in anew]
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
        """The fastest peer in Python; ours do not count."""
        others = [
            peer.name
            for peer in PEERS
            if peer.is_python and peer.module != "bananas" and peer.name != "huey-pinned"
        ]
        medians = [self.median(scenario, name) for name in others]
        return max((each for each in medians if each is not None), default=None)


@dataclass(frozen=True)
class Promise:
    """A figure that must be at least (`is_floor`) or at most a bound; None: only shown."""

    words: str
    bound: float | None
    seen: Callable[[Results], float | None]
    unit: str = "times"
    is_floor: bool = True

    def wanted(self) -> str:
        sign = ">=" if self.is_floor else "<="
        return "-" if self.bound is None else f"{sign} {self.bound:,g} {self.unit}"

    def verdict(self, seen: float) -> str:
        if self.bound is None:
            return "-"
        holds = seen >= self.bound if self.is_floor else seen <= self.bound
        return "yes" if holds else "NO"


def _ours(scenario: str, figure: str = "jobs_per_s") -> Callable[[Results], float | None]:
    return lambda results: results.median(scenario, "bananas", figure)


def _ratio(
    over: Callable[[Results], float | None], under: Callable[[Results], float | None]
) -> Callable[[Results], float | None]:
    def seen(results: Results) -> float | None:
        above, below = over(results), under(results)
        return above / below if above is not None and below else None

    return seen


def _of(peer: str, scenario: str) -> Callable[[Results], float | None]:
    return lambda results: results.median(scenario, peer)


def _best(scenario: str) -> Callable[[Results], float | None]:
    return lambda results: results.best_python(scenario)


PROMISES: tuple[Promise, ...] = (
    Promise("one process, concurrency 10, to the fastest Python peer", 5.0,
            _ratio(_ours("drain"), _best("drain"))),
    Promise("the same to Huey pinned to one core", None,
            _ratio(_ours("drain"), _of("huey-pinned", "drain"))),
    Promise("the same to BullMQ", 1.0, _ratio(_ours("drain"), _of("bullmq", "drain"))),
    Promise("two processes to one", 1.5, _ours("scale", "ratio_two")),
    Promise("the server's core, busy with one process", None, _ours("scale", "server_busy_one")),
    Promise("concurrency 50 to 10", 1.0, _ours("scale", "ratio_fifty")),
    Promise("enqueue one by one, to the fastest Python peer", 0.9,
            _ratio(_ours("enqueue"), _best("enqueue"))),
    Promise("bulk enqueue", 50_000, _ours("bulk"), "jobs/s"),
    Promise("idle wake-up, p50", 1.0, _ours("wake", "p50_ms"), "ms", is_floor=False),
    Promise("idle wake-up, p99", 4.0, _ours("wake", "p99_ms"), "ms", is_floor=False),
    Promise("not run after kill -9", 0, _ours("kill", "not_run"), "jobs", is_floor=False),
    Promise("high jobs amid low ones, p99", 15.0, _ours("flood", "p99_ms"), "ms", is_floor=False),
    Promise("backlog of 1,000,000 to one of 10,000", 0.9, _ours("backlog", "ratio")),
    Promise("eight types in two pools to no filter", 0.6, _ours("types", "ratio")),
    Promise("first job behind 200,000 of other types", 3.0, _ours("first", "after_s"), "s",
            is_floor=False),
    Promise("memory a job over 1.3 JSON + 200, payload 100", 0.0,
            _ours("memory", "over_limit_100"), "bytes", is_floor=False),
    Promise("the same, payload 1,000", 0.0, _ours("memory", "over_limit_1000"), "bytes",
            is_floor=False),
    Promise("commands of an idle worker", 3.0, _ours("idle", "commands_per_s"), "a second",
            is_floor=False),
    Promise("CPU-bound: two replicas to one", 1.5, _ours("crunch", "ratio")),
    Promise("bananas validate to its imports", 3.0, _ours("validate", "ratio"), is_floor=False),
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
    """A figure with as many digits as it is good for.

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
    """One line a peer that was measured."""
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
            "bulk enqueue", "CPU a job, worker / server, µs",
            "idle wake-up p50 / p99 ms", "kill -9 amid 1,000 jobs"]  # fmt: skip
    return table(head, rows)


def promises_table(results: Results) -> str:
    """What was asked for and measured, and whether it held."""
    rows = []
    for promise in PROMISES:
        seen = promise.seen(results)
        if seen is not None:
            words = [promise.words, promise.wanted(), number(seen), promise.verdict(seen)]
            rows.append(words)
    return table(["Bananas", "wanted", "seen", "holds"], rows)


def own_table(results: Results) -> str:
    """Every figure of the scenarios that are ours alone."""
    rows = []
    for scenario in FOR_US:
        seen = [r for r in results.records if r.scenario == scenario.name and r.figures]
        for figure in seen[0].figures if seen else ():
            value = results.median(scenario.name, "bananas", figure)
            rows.append([scenario.title, figure, number(value)])
    return table(["scenario", "figure", "median"], rows)


def markdown(results: Results, versions: Mapping[str, str], runs: int, kill_s: float) -> str:
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
        f"Medians of {runs} runs by `make bench`, taken in turns, on {machine()}; "
        f"{versions.get('server', 'server unknown')}, persistence off. Figures drift with the "
        "machine; compare the lines of one run. How it is measured: [README.md](README.md).",
        peers_table(results),
        f"kill -9: jobs not run {kill_s:g} s after the worker was started again (jobs run twice; "
        "seconds until the last one ran).",
        "![Jobs per second](chart.svg)",
        "## What was promised",
        promises_table(results),
        "## Ours alone",
        own_table(results),
        "## Set-up",
        "\n".join(setups),
    ]
    again = {f"{record.scenario} of {record.peer}" for record in results.records if record.again}
    if again:
        parts.insert(2, f"Measured again later, by itself: {', '.join(sorted(again))}.")
    if failures:
        parts += ["## What did not work", "\n".join(failures)]
    return "\n\n".join(parts) + "\n"


def as_json(results: Results, versions: Mapping[str, str]) -> dict[str, object]:
    """The raw figures."""
    return {
        "machine": machine(),
        "versions": dict(versions),
        "records": [asdict(record) for record in results.records],
    }


def machine() -> str:
    """The machine in a few words."""
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
