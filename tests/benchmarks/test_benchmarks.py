"""The benchmark's arithmetic, marks and report. `make bench` runs the benchmark itself."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import catalogue, chart, figures, payloads, report
from benchmarks.figures import Sample, median, percentile, rate
from benchmarks.marks import Marks
from benchmarks.report import Record, Results


def _results() -> Results:
    return Results(
        [
            Record("drain", "bananas", 0, {"jobs_per_s": 30_000.0}),
            Record("drain", "bananas", 1, {"jobs_per_s": 10_000.0}),
            Record("drain", "bananas", 2, {"jobs_per_s": 20_000.0}),
            Record("drain", "huey", 0, {"jobs_per_s": 2_000.0}),
            Record("drain", "saq", 0, {"jobs_per_s": 1_000.0}),
            Record("drain", "bullmq", 0, {"jobs_per_s": 25_000.0}),
            Record("wake", "arq", 0, {}, "no job started"),
        ]
    )


def test_a_repeated_measurement_replaces_the_earlier_one_and_is_marked() -> None:
    again = _results().with_again([Record("drain", "huey", 0, {"jobs_per_s": 4_000.0})])

    assert again.values("drain", "huey", "jobs_per_s") == [4_000.0]
    assert again.median("drain", "bananas") == 20_000.0
    assert "Measured again later, separately: drain of huey." in report.markdown(
        again, {}, "a machine", 3, 30
    )


def test_median_and_percentile_reject_an_empty_list() -> None:
    with pytest.raises(ValueError, match="median"):
        median([])
    with pytest.raises(ValueError, match="percentile"):
        percentile([], 50)


def test_rate_counts_only_the_time_when_all_processes_work() -> None:
    samples = [
        Sample(0.0, 0, 0),
        Sample(1.0, 100, 1),
        Sample(2.0, 200, 2),
        Sample(3.0, 600, 2),
        Sample(9.0, 1_000, 2),
    ]

    measured = rate(samples, 1_000, 2)

    assert measured == 400.0


def test_rate_falls_back_to_all_samples() -> None:
    assert rate([Sample(0.0, 0, 0), Sample(1.0, 10, 1), Sample(2.0, 30, 1)], 30, 1) == 20.0
    assert rate([Sample(0.0, 0, 0)], 30, 1) == 0.0


def test_marks_count_runs_starts_and_processes(tmp_path: Path) -> None:
    seen = Marks.create(tmp_path / "jobs.marks", 3)
    worker = Marks(tmp_path / "jobs.marks", 3)

    worker.begin(1)
    worker.ran(1)
    worker.ran(1)
    worker.ran(2)

    assert (seen.done(), seen.repeated(), seen.processes()) == (2, 1, 1)
    assert seen.began(0) == 0
    assert seen.began(1) > 0


def test_a_ratio_compares_with_the_fastest_python_peer() -> None:
    results = _results()

    table = report.targets_table(results)

    assert results.best_python("drain") == 2_000.0
    line = next(line for line in table.splitlines() if "fastest Python peer" in line)
    assert [cell.strip() for cell in line.split("|")[2:5]] == [">= 5 times", "10", "yes"]
    line = next(line for line in table.splitlines() if "BullMQ" in line)
    assert line.split("|")[4].strip() == "NO"


def test_the_report_shows_medians_setups_and_failures() -> None:
    text = report.markdown(_results(), {"huey": "3.5.4"}, "a machine", 3, 30)

    assert "20,000" in text
    assert "**Huey** 3.5.4: 10 threads" in text
    assert "- arq, wake, run 1: no job started" in text


def test_the_chart_has_a_bar_per_measured_peer() -> None:
    drawn = chart.draw(_results())

    assert drawn.count("<rect") == 1 + 4
    assert drawn.index("BullMQ") < drawn.index("Bananas") < drawn.index("Huey")


def test_peers_have_unique_names_and_existing_modules() -> None:
    names = [peer.name for peer in catalogue.PEERS]
    peers = Path(catalogue.__file__).parent / "peers"

    assert len(set(names)) == len(names)
    for peer in catalogue.PEERS:
        assert (peers / f"{peer.module}.py").exists() or (peers / peer.module).is_dir()


@pytest.mark.parametrize("module", [figures, payloads, report])
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
