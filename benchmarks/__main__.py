"""``python -m benchmarks``: measures, and writes results.md and results.json.

Runs take turns (first run of every peer, second run of every peer, ...), so that a drift of the
machine affects all peers alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import redis

from bananas_topology.errors import BananasTopologyError
from bananas_topology.jobs.bundled_server import BundledServer
from benchmarks import report
from benchmarks.bench import Bench, Failed
from benchmarks.catalogue import PEERS, Peer
from benchmarks.environments import CannotInstall, node_path, prepare, python_of
from benchmarks.own import BANANAS_SCENARIOS
from benchmarks.report import Record, Results
from benchmarks.scenarios import Scenario, peer_scenarios

#: Where the marks are: in memory, so that no disk affects the figures.
MEMORY = Path("/dev/shm")

T = TypeVar("T")


def main() -> int:
    arguments = _parse()
    before = _read_before(arguments.out) if arguments.again else None
    scenarios = [*peer_scenarios(arguments.kill_seconds), *BANANAS_SCENARIOS]
    peers = _select(PEERS, arguments.only, lambda peer: peer.name, "peer")
    scenarios = _select(scenarios, arguments.scenarios, lambda each: each.name, "scenario")
    peers = [peer for peer in peers if _is_installed(peer)]
    records: list[Record] = []
    with tempfile.TemporaryDirectory(
        prefix="bananas-bench-", dir=MEMORY if MEMORY.is_dir() else None
    ) as directory:
        try:
            with BundledServer(Path(directory), durable=False) as server:
                bench = Bench(server.start(), Path(directory), redis.Redis.from_url(server.url))
                versions = _versions(peers, bench)
                for scenario, peer, run in _turns(scenarios, peers, arguments.runs):
                    records.append(_measure(bench, scenario, peer, run))
        except KeyboardInterrupt:
            print("interrupted; writing what was measured", file=sys.stderr)
    if not records:
        print("error: nothing was measured", file=sys.stderr)
        return 1
    results = Results(records)
    if before is not None:
        results = Results([Record(**each) for each in before["records"]]).with_again(records)
        versions = before["versions"] | versions
    _write(results, versions, arguments)
    return 0


def _read_before(folder: Path) -> Any:
    """The earlier results: read first, so that a missing file fails before anything is measured."""
    try:
        return json.loads((folder / "results.json").read_text())
    except OSError as error:
        raise SystemExit(f"error: no results to add to: {error}") from error


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help="peers, separated by commas")
    parser.add_argument("--scenarios", default="", help="scenarios, separated by commas")
    parser.add_argument("--runs", type=int, default=3, help="runs to take medians of")
    parser.add_argument(
        "--kill-seconds",
        type=float,
        default=30,
        help="seconds that jobs of a killed worker may take to run",
    )
    parser.add_argument(
        "--again", action="store_true", help="replace these figures in the results of the folder"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder")
    return parser.parse_args()


def _select(items: Sequence[T], wanted: str, name: Callable[[T], str], kind: str) -> list[T]:
    names = [each.strip() for each in wanted.split(",") if each.strip()]
    known = [name(item) for item in items]
    for each in names:
        if each not in known:
            raise SystemExit(f'error: no {kind} "{each}"; expected some of {", ".join(known)}')
    return [item for item in items if not names or name(item) in names]


def _is_installed(peer: Peer) -> bool:
    try:
        prepare(peer)
    except CannotInstall as error:
        print(f"skipped: {error}", file=sys.stderr)
        return False
    return True


def _turns(
    scenarios: Sequence[Scenario], peers: Sequence[Peer], runs: int
) -> list[tuple[Scenario, Peer, int]]:
    return [
        (scenario, peer, run)
        for scenario in scenarios
        for run in range(1 if scenario.once else runs)
        for peer in peers
        if scenario.is_for(peer)
    ]


def _measure(bench: Bench, scenario: Scenario, peer: Peer, run: int) -> Record:
    begin = time.monotonic()
    try:
        record = Record(scenario.name, peer.name, run, scenario.run(bench, peer))
    except (Failed, BananasTopologyError, redis.RedisError) as error:
        record = Record(scenario.name, peer.name, run, {}, str(error))
    figures = ", ".join(f"{name} {report.number(each)}" for name, each in record.figures.items())
    took = time.monotonic() - begin
    line = (
        f"{scenario.name:9} {peer.name:12} {run + 1}  {figures or record.failure}  ({took:.0f} s)"
    )
    print(line, flush=True)
    return record


def _versions(peers: Sequence[Peer], bench: Bench) -> dict[str, str]:
    server = bench.server.info("server")
    is_valkey = "valkey_version" in server
    name = "Valkey" if is_valkey else "Redis"
    versions = {"server": f"{name} {server['valkey_version' if is_valkey else 'redis_version']}"}
    return versions | {peer.name: _version(peer) for peer in peers}


def _version(peer: Peer) -> str:
    if not peer.is_python:
        package = json.loads((Path(node_path(peer)) / peer.module / "package.json").read_text())
        return str(package["version"])
    if not peer.requirements:
        return metadata.version("bananas-topology")
    code = f"from importlib import metadata; print(metadata.version({peer.module!r}))"
    return subprocess.check_output([python_of(peer), "-c", code], text=True).strip()


def _write(results: Results, versions: Mapping[str, str], arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(
        json.dumps(report.as_json(results, versions), indent=1) + "\n"
    )
    text = report.markdown(
        results, versions, report.machine(), arguments.runs, arguments.kill_seconds
    )
    (out / "results.md").write_text(text)
    print(f"\n{report.peers_table(results)}\n\n{report.targets_table(results)}")
    print(f"\nwritten: {out / 'results.md'}, results.json")


if __name__ == "__main__":
    raise SystemExit(main())
