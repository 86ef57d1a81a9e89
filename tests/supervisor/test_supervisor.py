from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from bananas_topology.supervisor import supervisor as supervisor_module
from bananas_topology.supervisor.output import Output
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.supervisor.sink import Sink
from bananas_topology.supervisor.supervisor import RunResult, Supervisor
from bananas_topology.system.processes import start_time_token
from bananas_topology.system.signals import DEBOUNCE_S
from tests.supervisor.stage import FAST, SIGNAL_PARENT, Stage
from tests.waiting import wait_for

#: A child that prints "ready", runs `{}`, and exits with 0 on SIGTERM.
WELL_BEHAVED = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
def lives(): return sum(name.isdecimal() for name in os.listdir())
print("ready", flush=True)
{}
time.sleep(60)
"""


def _pids(directory: Path) -> list[int]:
    return [int(path.name) for path in sorted(directory.glob("[0-9]*"), key=os.path.getmtime)]


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signal_stops_children_gracefully(stage: Stage, number: str) -> None:
    slow_to_stop = f"""
import os, signal, sys, time
def finish(*_):
    time.sleep(0.3)
    print("finished", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, finish)
{SIGNAL_PARENT.format(number)}
time.sleep(60)
"""

    result = stage.run(stage.plan(slow_to_stop))

    assert result == RunResult(drained=False, given_up=(), killed=())
    assert b"finished" in stage.shown


def test_second_signal_stops_children_immediately(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "QUIT_TIMEOUT_S", 20.0)
    stubborn = f"""
import os, signal, sys, time
def at_term(*_):
    print("not yet", flush=True)
    time.sleep({2 * DEBOUNCE_S})
    {SIGNAL_PARENT.format("SIGINT")}
def at_quit(*_):
    print("at once", flush=True)
    sys.exit(131)
signal.signal(signal.SIGTERM, at_term)
signal.signal(signal.SIGQUIT, at_quit)
{SIGNAL_PARENT.format("SIGINT")}
while True: time.sleep(0.1)
"""

    result = stage.run(stage.plan(stubborn))

    assert result.killed == ()
    assert b"not yet" in stage.shown
    assert b"at once" in stage.shown


def test_duplicate_ctrl_c_counts_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "DEBOUNCE_S", 20.0)
    code = WELL_BEHAVED.format(
        f"{SIGNAL_PARENT.format('SIGINT')}; {SIGNAL_PARENT.format('SIGINT')}"
    ).replace("sys.exit(0)", "(time.sleep(0.1), print('finished'), sys.exit(0))")

    stage.run(stage.plan(code))

    assert b"finished" in stage.shown


def test_child_past_its_grace_is_killed_with_its_descendants(stage: Stage) -> None:
    unresponsive = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(str(other.pid), "w").close()
{SIGNAL_PARENT.format("SIGTERM")}
time.sleep(60)
"""

    result = stage.run(
        stage.plan(unresponsive, grace_ms=300), stage.plan(WELL_BEHAVED.format(""), "b-0")
    )

    assert result.killed == ("a-0",)
    [other] = _pids(stage.directory)
    wait_for(lambda: start_time_token(other) is None)


@pytest.mark.parametrize("end", ["sys.exit(1)", "sys.exit(0)", "os.kill(os.getpid(), 9)"])
def test_child_that_exits_is_restarted_immediately(
    stage: Stage, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    code = WELL_BEHAVED.format(f"""
open(str(os.getpid()), "w").close()
if lives() == 1: {end}
{SIGNAL_PARENT.format("SIGTERM")}
""")

    result = stage.run(stage.plan(code))

    assert len(_pids(stage.directory)) == 2
    assert [record.getMessage() for record in caplog.records] == ["child exited, restarting now"]
    assert result.given_up == ()


def test_crash_loop_is_given_up_while_others_keep_running(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    crashing = "open(str(__import__('os').getpid()), 'w').close(); raise SystemExit(3)"
    other = WELL_BEHAVED.format(f"""
while lives() < {FAST.max_failed_starts}: time.sleep(0.01)
time.sleep(0.2)
print("still here", flush=True)
{SIGNAL_PARENT.format("SIGTERM")}
""")

    result = stage.run(stage.plan(crashing), stage.plan(other, "b-0"))

    assert result == RunResult(drained=False, given_up=("a-0",), killed=())
    assert len(_pids(stage.directory)) == FAST.max_failed_starts
    assert [r.getMessage() for r in caplog.records].count("gave up restarting child") == 1
    assert b"still here" in stage.shown


def test_requested_restart_is_always_granted(stage: Stage) -> None:
    code = WELL_BEHAVED.format(f"""
open(str(os.getpid()), "w").close()
if lives() < {FAST.max_failed_starts + 2}: sys.exit(75)
{SIGNAL_PARENT.format("SIGTERM")}
""")

    result = stage.run(stage.plan(code))

    assert result.given_up == ()
    assert len(_pids(stage.directory)) == FAST.max_failed_starts + 2


def test_invalid_settings_are_given_up_without_a_restart(stage: Stage) -> None:
    wrong = "open(str(__import__('os').getpid()), 'w').close(); raise SystemExit(2)"

    result = stage.run(stage.plan(wrong), stage.plan(wrong, "b-0"))

    assert result.given_up == ("a-0", "b-0")
    assert len(_pids(stage.directory)) == 2


def test_program_that_cannot_be_started_is_given_up(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    plan = ChildPlan("a-0", "a", ("/no/such/program",), {}, stage.directory, 1000)

    result = stage.run(plan)

    assert result.given_up == ("a-0",)
    assert "No such file or directory" in str(vars(caplog.records[0]))


def test_children_are_stopped_once_drained(stage: Stage) -> None:
    def is_drained() -> bool:
        return (stage.directory / "done").exists()

    result = stage.run(
        stage.plan(WELL_BEHAVED.format("time.sleep(0.1); open('done', 'w')")), is_drained=is_drained
    )

    assert result.drained


def test_on_poll_is_called_while_children_run(stage: Stage) -> None:
    calls: list[int] = []

    def on_poll() -> None:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    stage.run(stage.plan(WELL_BEHAVED.format("")), on_poll=on_poll)

    assert len(calls) >= 3


def test_flood_of_output_does_not_delay_signals(stage: Stage) -> None:
    flooding = "import os\nwhile True: os.write(1, b'x' * 65536)"
    other = WELL_BEHAVED.format(f"time.sleep(0.3); {SIGNAL_PARENT.format('SIGTERM')}")
    started = time.monotonic()

    result = stage.run(stage.plan(flooding), stage.plan(other, "b-0"))

    assert result.killed == ()
    assert time.monotonic() - started < 20


def test_closed_output_stops_everything_gracefully(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    stage = Stage(tmp_path, read_end, Sink(write_end))
    output = Output(stage.sink, ["a-0"], lambda pool, text: text)

    result = Supervisor([stage.plan(WELL_BEHAVED.format(""))], output).run()

    assert result == RunResult(drained=False, given_up=(), killed=())
    os.close(write_end)


def test_unterminated_final_output_is_shown(stage: Stage) -> None:
    code = "import sys; sys.stdout.write('x' * 30000 + 'final output'); sys.exit(2)"

    stage.run(stage.plan(code))

    assert stage.shown.endswith(b"final output\n")


def test_descendant_holding_the_output_open_does_not_delay_the_end(stage: Stage) -> None:
    code = """
import os, subprocess, sys
other = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
)
open(str(other.pid), "w").close()
os._exit(2)
"""
    started = time.monotonic()

    result = stage.run(stage.plan(code))

    assert result.given_up == ("a-0",)
    assert time.monotonic() - started < 30
    [other] = _pids(stage.directory)
    os.kill(other, signal.SIGKILL)
