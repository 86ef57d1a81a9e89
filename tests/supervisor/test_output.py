from __future__ import annotations

import json
import os
from pathlib import Path

from bananas_topology.supervisor.log_files import LogFiles, log_path
from bananas_topology.supervisor.output import MAX_LINE_BYTES, LineSplitter, Output, as_json
from bananas_topology.supervisor.sink import Sink


def _plain(pool: str, text: str) -> str:
    return text


def _shown(*chunks: bytes, is_json: bool = False) -> bytes:
    """Return the output for a child `a-0` that writes these chunks."""
    read_end, write_end = os.pipe()
    sink = Sink(write_end)
    stream = Output(sink, ["a-0", "longer-name-0"], _plain).stream("a-0", "a", is_json=is_json)
    for chunk in chunks:
        stream.feed(chunk)
    stream.end()
    sink.flush()
    os.close(write_end)
    with os.fdopen(read_end, "rb") as reader:
        return reader.read()


def test_lines_are_prefixed_in_a_column_as_wide_as_the_longest_name() -> None:
    assert _shown(b"one\ntwo\n") == b"a-0           | one\na-0           | two\n"


def test_line_split_across_chunks_is_written_once() -> None:
    assert _shown(b"on", b"e\ntw", b"o\n") == _shown(b"one\ntwo\n")


def test_unterminated_last_line_is_written_at_the_end() -> None:
    assert _shown(b"one\ntwo") == _shown(b"one\ntwo\n")


def test_empty_line_is_kept() -> None:
    assert _shown(b"\n") == b"a-0           |\n"


def test_invalid_utf_8_is_replaced() -> None:
    assert _shown(b"caf\xe9\n") == "a-0           | caf\N{REPLACEMENT CHARACTER}\n".encode()


def test_unterminated_line_uses_bounded_memory_and_loses_nothing() -> None:
    splitter = LineSplitter()
    size, pieces = 3 * MAX_LINE_BYTES + 5, 0

    for _ in range(size // 5):
        for piece in splitter.feed(b"xxxxx"):
            assert len(piece) == MAX_LINE_BYTES
            pieces += 1
    [rest] = splitter.end()

    assert pieces * MAX_LINE_BYTES + len(rest) == size // 5 * 5


def test_json_lines_pass_unchanged() -> None:
    line = '{"msg": "job completed",  "caf\u00e9": 1.50}\n'.encode()

    assert _shown(line, is_json=True) == line


def test_other_text_among_json_lines_is_wrapped() -> None:
    shown = _shown(b'Traceback "here"\n', is_json=True)

    entry = json.loads(shown)
    assert entry["msg"] == 'Traceback "here"'
    assert (entry["pool"], entry["worker_id"], entry["level"]) == ("a", "a-0", "info")


def test_wrapped_lines_contain_no_raw_control_characters() -> None:
    assert b"\x1b" not in as_json(b"\x1b[31mred\xff", "a-0", "a")


def test_control_characters_of_a_child_are_visible() -> None:
    shown = _shown("\x1b[31mred\t\x9b2J \u202edoc\r\n".encode())

    assert shown == rb"a-0           | \x1b[31mred" + b"\t" + rb"\x9b2J \u202edoc" + b"\n"


def test_control_characters_in_json_lines_are_escaped() -> None:
    entry = {"job_id": "a\x1b[2J\x9b\u202eb"}

    shown = _shown(json.dumps(entry, ensure_ascii=False).encode() + b"\n", is_json=True)

    assert json.loads(shown) == entry
    assert shown.decode().removesuffix("\n").isprintable()


def test_prefixes_are_colored_by_pool() -> None:
    read_end, write_end = os.pipe()
    sink = Sink(write_end)
    output = Output(sink, ["a-0"], lambda pool, text: f"<{pool}:{text}>")

    output.stream("a-0", "a", is_json=False).feed(b"line\n")
    sink.flush()

    assert os.read(read_end, 100) == b"<a:a-0        |> line\n"
    os.close(read_end)
    os.close(write_end)


def test_error_of_several_starts_is_shown_once_and_kept_with_each(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    sink = Sink(write_end)
    output = Output(sink, ["a-0", "a-1"], _plain, LogFiles(tmp_path))
    streams = [output.stream(name, "a", is_json=False) for name in ("a-0", "a-1")]
    for stream in (*streams, *streams):
        stream.is_starting = True
        stream.feed(b"error: cannot import module jobs\n")
    for stream in streams:
        stream.is_starting = False
        stream.feed(b"error: printed by a handler\n")
    sink.flush()
    os.close(write_end)
    with os.fdopen(read_end) as reader:
        shown = reader.read()

    full, short = "error: cannot import module jobs", "error: the same as a-0"
    handlers = (
        "a-0        | error: printed by a handler\na-1        | error: printed by a handler\n"
    )
    assert shown == 2 * f"a-0        | {full}\na-1        | {short}\n" + handlers
    for name in ("a-0", "a-1"):
        assert log_path(tmp_path, name).read_text().count(full) == 2
