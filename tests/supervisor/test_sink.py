from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from bananas_topology.supervisor import sink as sink_module
from bananas_topology.supervisor.sink import HIGH_WATER_BYTES, Sink

_LINE = b"x" * 1023


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    yield read_end, write_end
    for descriptor in (read_end, write_end):
        try:
            os.close(descriptor)
        except OSError:
            continue


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return b""


def _fill(sink: Sink) -> None:
    """Write more than the pipe and the buffer can hold."""
    for _ in range(2 * HIGH_WATER_BYTES // len(_LINE)):
        sink.write(_LINE)
    sink.flush()


def test_lines_are_written_in_order(pipe: tuple[int, int]) -> None:
    sink = Sink(pipe[1])

    sink.write(b"one")
    sink.write(b"two")
    sink.flush()

    assert _read(pipe[0]) == b"one\ntwo\n"


def test_stuck_reader_never_blocks_the_writer(pipe: tuple[int, int]) -> None:
    sink = Sink(pipe[1])

    _fill(sink)

    assert sink.wants_pause
    assert sink.has_pending


def test_slow_reader_loses_nothing(pipe: tuple[int, int]) -> None:
    sink = Sink(pipe[1])
    _fill(sink)

    received = b""
    while sink.has_pending:
        received += _read(pipe[0])
        sink.flush()
    received += _read(pipe[0])

    assert len(received) > HIGH_WATER_BYTES
    assert set(received.splitlines()) == {_LINE}
    assert sink.take_dropped() == 0


def test_lines_for_a_stuck_reader_are_dropped_and_counted(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "STUCK_S", 0.0)
    sink = Sink(pipe[1])
    for _ in range(2 * HIGH_WATER_BYTES // len(_LINE)):
        sink.write(_LINE)
    sink.flush()
    sink.flush()

    sink.write(b"lost")
    sink.write(b"lost too")

    assert not sink.wants_pause
    assert sink.take_dropped() == 0
    while sink.has_pending:
        assert b"lost" not in _read(pipe[0])
        sink.flush()
    assert sink.take_dropped() == 2
    assert sink.take_dropped() == 0


def test_closed_descriptor_is_detected(pipe: tuple[int, int]) -> None:
    sink = Sink(pipe[1])
    os.close(pipe[0])

    sink.write(b"nobody reads this")
    sink.flush()
    sink.write(b"nor this")

    assert sink.is_closed
    assert not sink.has_pending


def test_reader_that_has_gone_is_detected_without_writing(pipe: tuple[int, int]) -> None:
    calls: list[str] = []
    sink = Sink(pipe[1], lambda: calls.append("closed"))
    sink.flush()
    before = sink.is_closed

    os.close(pipe[0])
    sink.flush()
    sink.flush()

    assert (before, sink.is_closed) == (False, True)
    assert calls == ["closed"]


def test_status_stays_below_the_lines(pipe: tuple[int, int]) -> None:
    sink = Sink(pipe[1])

    sink.show_status("1 done")
    sink.flush()
    sink.write(b"a line")
    sink.flush()
    sink.show_status("2 done")
    sink.flush()
    sink.finish(time.monotonic() + 20)

    erase = b"\r\x1b[2K"
    assert _read(pipe[0]) == b"1 done" + erase + b"a line\n1 done" + erase + b"2 done" + erase


def test_finish_waits_for_the_reader_until_the_deadline(pipe: tuple[int, int]) -> None:
    sink = Sink(pipe[1])
    _fill(sink)
    started = time.monotonic()

    sink.finish(started + 0.05)

    assert 0.05 <= time.monotonic() - started < 20
