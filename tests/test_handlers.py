from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bananas_topology import JobContext, Retry, job
from bananas_topology.errors import HandlerError
from bananas_topology.handler_modules import load_handlers
from bananas_topology.system.clock import monotonic


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("made_")]:
        del sys.modules[name]


def _write(folder: Path, name: str, body: str) -> str:
    head = "from typing import Any\nfrom bananas_topology import JobContext, job\n"
    (folder / f"{name}.py").write_text(head + body)
    return name


def test_a_marked_function_stays_a_function() -> None:
    @job("double")
    def double(payload: int) -> int:
        return 2 * payload

    assert double(4) == 8


@pytest.mark.parametrize(
    ("signature", "payload_type", "takes_context"),
    [
        ("payload: dict", dict, False),
        ("payload", Any, False),
        ("", None, False),
        ("payload: int, context: JobContext", int, True),
        ("context: JobContext, payload: int", int, True),
        ("context", None, True),
        ("payload: int, ctx: JobContext", int, True),
        ("payload: int, more: int = 3", int, False),
    ],
)
def test_payload_type_and_context_are_read_from_the_signature(
    modules: Path, signature: str, payload_type: Any, takes_context: bool
) -> None:
    name = _write(modules, "made_one", f"@job('a')\ndef a({signature}): ...\n")

    handler = load_handlers((name,))["a"]

    assert (handler.payload_type, handler.takes_context) == (payload_type, takes_context)


def test_async_handlers_are_recognized(modules: Path) -> None:
    name = _write(modules, "made_async", "@job('a')\nasync def a(payload): ...\n")

    assert load_handlers((name,))["a"].is_async


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "has no handlers: mark its functions with @job"),
        (
            "@job('a')\ndef a(x, y): ...\n",
            "expected the parameters payload and, optionally, context: JobContext, got x, y",
        ),
        (
            "@job('a')\ndef a(x: 'Missing'): ...\n",
            "cannot evaluate the annotations of made_wrong.a: name 'Missing'",
        ),
        (
            "@job('a')\ndef a(x): yield x\n",
            "made_wrong.a: expected a function that returns, got a generator",
        ),
        (
            "@job('a')\ndef a(x): ...\n@job('a')\ndef b(x): ...\n",
            'job type "a" has two handlers: made_wrong.a and made_wrong.b',
        ),
        ("@job('a b')\ndef a(x): ...\n", "no comma or space"),
        ("@job('a', timeout='soon')\ndef a(x): ...\n", "timeout: expected a duration"),
        ("@job('a', timeout=0)\ndef a(x): ...\n", "timeout: expected more than 0, got 0"),
        ("@job('a', max_retries=-1)\ndef a(x): ...\n", "max_retries: expected 0 to 1000, got -1"),
        ("@job\ndef a(x): ...\n", '@job on a has no job type: write @job("a")'),
        ("1/0\n", "cannot import module made_wrong: ZeroDivisionError: division by zero ("),
        ("\n1/0\n", "made_wrong.py, line 4)"),
        ("@job('a', timeout=0)\ndef a(x): ...\n", "made_wrong.py, line 3)"),
        ("raise SystemExit(3)\n", "cannot import module made_wrong: SystemExit: 3"),
        # As extensions in Rust do.
        (
            "class Panic(BaseException): pass\nraise Panic\n",
            "cannot import module made_wrong: Panic",
        ),
        ("import nowhere\n", "No module named 'nowhere'"),
        ("(\n", "cannot import module made_wrong: SyntaxError"),
    ],
)
def test_an_invalid_module_is_reported(modules: Path, body: str, message: str) -> None:
    name = _write(modules, "made_wrong", body)

    with pytest.raises(HandlerError) as caught:
        load_handlers((name,))

    assert message in str(caught.value)


def test_a_missing_module_is_reported_with_the_directory_searched() -> None:
    with pytest.raises(HandlerError, match=r"no module named nowhere \(looked in"):
        load_handlers(("nowhere.jobs",))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("made_jbos", "(did you mean made_jobs?)"),
        ("made_jobs.py", "expected a module name without .py, such as made_jobs"),
    ],
)
def test_a_misspelled_module_gets_a_suggestion(modules: Path, name: str, message: str) -> None:
    _write(modules, "made_jobs", "")

    with pytest.raises(HandlerError) as caught:
        load_handlers((name,))

    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    ("delay", "expected_ms"),
    [
        ("1m", 60_000),
        (1.5, 1_500),
        (timedelta(hours=1), 3_600_000),
        (-1, 0),
        ("-5m", 0),
        (timedelta(hours=-1), 0),
    ],
)
def test_a_retry_accepts_a_delay_in_any_form(delay: Any, expected_ms: int) -> None:
    assert Retry("later", delay=delay).delay_ms == expected_ms


@pytest.mark.parametrize("delay", ["soon", "", "--1s", [], float("nan"), float("-inf")])
def test_a_retry_rejects_an_invalid_delay(delay: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Retry("later", delay=delay)


def test_the_remaining_time_is_never_negative() -> None:
    def context(deadline: float) -> JobContext:
        return JobContext("1", "a", 1, 3, "w", deadline, lambda: False)

    assert 900 < context(monotonic() + 1_000).remaining() <= 1_000
    assert context(monotonic() - 10).remaining() == 0


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, bananas_topology.liveness; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not set(done.stdout.split()) & {"redis", "inspect", "json", "bananas_topology.contract"}


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"complete": "1d"}, "keep: expected completed, dead, results, errors, got 'complete'"),
        ({"dead": "soon"}, "keep: dead: expected a duration such as"),
        ({"results": -1}, "keep: results: expected a duration such as"),
        ({"errors": None}, "keep: errors: "),
    ],
)
def test_an_invalid_retention_is_rejected(keep: Any, message: str) -> None:
    with pytest.raises(HandlerError, match=message):
        job("a", keep=keep)
