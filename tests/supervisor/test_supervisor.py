from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bananas_topology.supervisor.output import Output
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.supervisor.restarts import RestartPolicy
from bananas_topology.supervisor.sink import Sink
from bananas_topology.supervisor.supervisor import SAME_PRESS_S, RunResult, Supervisor
from bananas_topology.system.processes import start_time_token
from tests.waiting import wait_for

#: The same decisions, fifty times as fast.
FAST = RestartPolicy(stable_s=1.2, base_delay_s=0.02, cap_delay_s=0.6, loop_window_s=1.2)

#: A child that leaves with code 0 on SIGTERM, having said "ready" and then done `{}`.
POLITE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
{}
time.sleep(60)
"""

TELL = "os.kill(os.getppid(), signal.{})"


@dataclass
class Stage:
    """Runs children given as Python code under a supervisor in this process."""

    directory: Path
    read_end: int
    sink: Sink
    shown: bytes = b""

    def plan(self, code: str, name: str = "a-0", grace_ms: int = 10_000) -> ChildPlan:
        return ChildPlan(
            name=name,
            pool=name.rpartition("-")[0],
            argv=(sys.executable, "-I", "-S", "-c", code),
            env=dict(os.environ),
            cwd=self.directory,
            grace_ms=grace_ms,
        )

    def run(
        self,
        *plans: ChildPlan,
        is_drained: Callable[[], bool] | None = None,
        on_poll: Callable[[], None] | None = None,
    ) -> RunResult:
        output = Output(self.sink, [plan.name for plan in plans], lambda pool, text: text)
        supervisor = Supervisor(plans, output, policy=FAST, is_drained=is_drained, on_poll=on_poll)
        ending = supervisor.run()
        self.shown = os.read(self.read_end, 1 << 20)
        return ending


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.write(write_end, b"\n")
    yield Stage(tmp_path, read_end, Sink(write_end))
    os.close(read_end)
    os.close(write_end)


def _pids(directory: Path) -> list[int]:
    return [int(path.name) for path in sorted(directory.glob("[0-9]*"), key=os.path.getmtime)]


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_asks_children_to_finish_and_waits_for_them(stage: Stage, number: str) -> None:
    slow_to_stop = f"""
import os, signal, sys, time
def finish(*_):
    time.sleep(0.3)
    print("finished", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, finish)
{TELL.format(number)}
time.sleep(60)
"""

    ending = stage.run(stage.plan(slow_to_stop))

    assert ending == RunResult(drained=False, given_up=(), killed=())
    assert b"finished" in stage.shown


def test_a_second_signal_makes_children_leave_at_once(stage: Stage) -> None:
    stubborn = f"""
import os, signal, sys, time
def at_term(*_):
    print("not yet", flush=True)
    time.sleep({2 * SAME_PRESS_S})
    {TELL.format("SIGINT")}
def at_quit(*_):
    print("at once", flush=True)
    sys.exit(131)
signal.signal(signal.SIGTERM, at_term)
signal.signal(signal.SIGQUIT, at_quit)
{TELL.format("SIGINT")}
while True: time.sleep(0.1)
"""

    ending = stage.run(stage.plan(stubborn))

    assert ending.killed == ()
    assert b"not yet" in stage.shown
    assert b"at once" in stage.shown


def test_one_ctrl_c_that_comes_by_two_ways_is_still_one(stage: Stage) -> None:
    code = POLITE.format(f"{TELL.format('SIGINT')}; {TELL.format('SIGINT')}").replace(
        "sys.exit(0)", "(time.sleep(0.1), print('finished'), sys.exit(0))"
    )

    stage.run(stage.plan(code))

    assert b"finished" in stage.shown


def test_who_overstays_its_grace_is_killed_with_all_it_has_started(stage: Stage) -> None:
    deaf = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(str(other.pid), "w").close()
{TELL.format("SIGTERM")}
time.sleep(60)
"""

    ending = stage.run(stage.plan(deaf, grace_ms=300), stage.plan(POLITE.format(""), "b-0"))

    assert ending.killed == ("a-0",)
    [other] = _pids(stage.directory)
    wait_for(lambda: start_time_token(other) is None)


@pytest.mark.parametrize("end", ["sys.exit(1)", "sys.exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_child_that_ends_unasked_is_started_again_at_once(stage: Stage, end: str) -> None:
    code = POLITE.format(f"""
open(str(os.getpid()), "w").close()
if len(os.listdir()) == 1: {end}
{TELL.format("SIGTERM")}
""")

    ending = stage.run(stage.plan(code))

    first, second = _pids(stage.directory)
    between = (stage.directory / str(second)).stat().st_mtime
    assert between - (stage.directory / str(first)).stat().st_mtime < 1.0
    assert ending.given_up == ()


def test_a_crash_loop_is_given_up_and_the_others_go_on(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    crashing = "open(str(__import__('os').getpid()), 'w').close(); raise SystemExit(3)"
    other = POLITE.format(f"""
while len(os.listdir()) < {FAST.loop_exits}: time.sleep(0.01)
time.sleep(0.2)
print("still here", flush=True)
{TELL.format("SIGTERM")}
""")

    ending = stage.run(stage.plan(crashing), stage.plan(other, "b-0"))

    assert ending == RunResult(drained=False, given_up=("a-0",), killed=())
    assert len(_pids(stage.directory)) == FAST.loop_exits
    assert [r.getMessage() for r in caplog.records].count("child given up") == 1
    assert b"still here" in stage.shown


def test_a_child_that_asks_for_a_fresh_start_gets_it_every_time(stage: Stage) -> None:
    code = POLITE.format(f"""
open(str(os.getpid()), "w").close()
if len(os.listdir()) < {FAST.loop_exits + 2}: sys.exit(75)
{TELL.format("SIGTERM")}
""")

    ending = stage.run(stage.plan(code))

    assert ending.given_up == ()
    assert len(_pids(stage.directory)) == FAST.loop_exits + 2


def test_wrong_settings_are_given_up_without_a_second_start(stage: Stage) -> None:
    wrong = "open(str(__import__('os').getpid()), 'w').close(); raise SystemExit(2)"

    ending = stage.run(stage.plan(wrong), stage.plan(wrong, "b-0"))

    assert ending.given_up == ("a-0", "b-0")
    assert len(_pids(stage.directory)) == 2


def test_a_program_that_cannot_be_started_is_given_up(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    plan = ChildPlan("a-0", "a", ("/no/such/program",), {}, stage.directory, 1000)

    ending = stage.run(plan)

    assert ending.given_up == ("a-0",)
    assert "No such file or directory" in str(vars(caplog.records[0]))


def test_children_are_stopped_once_drained(stage: Stage) -> None:
    def is_drained() -> bool:
        return (stage.directory / "done").exists()

    ending = stage.run(
        stage.plan(POLITE.format("time.sleep(0.1); open('done', 'w')")), is_drained=is_drained
    )

    assert ending.drained


def test_what_is_tended_is_looked_after_while_children_run(stage: Stage) -> None:
    calls: list[int] = []

    def on_poll() -> None:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    stage.run(stage.plan(POLITE.format("")), on_poll=on_poll)

    assert len(calls) >= 3


def test_a_child_that_floods_does_not_keep_signals_from_being_obeyed(stage: Stage) -> None:
    flooding = "import os\nwhile True: os.write(1, b'x' * 65536)"
    other = POLITE.format(f"time.sleep(0.3); {TELL.format('SIGTERM')}")
    begun = time.monotonic()

    ending = stage.run(stage.plan(flooding), stage.plan(other, "b-0"))

    assert ending.killed == ()
    assert time.monotonic() - begun < 5


def test_a_closed_output_ends_everything_gracefully(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    stage = Stage(tmp_path, read_end, Sink(write_end))
    output = Output(stage.sink, ["a-0"], lambda pool, text: text)

    ending = Supervisor([stage.plan(POLITE.format(""))], output).run()

    assert ending == RunResult(drained=False, given_up=(), killed=())
    os.close(write_end)


def test_the_last_words_of_a_child_are_shown_also_without_a_line_end(stage: Stage) -> None:
    code = "import sys; sys.stdout.write('x' * 30000 + 'last words'); sys.exit(2)"

    stage.run(stage.plan(code))

    assert stage.shown.endswith(b"last words\n")


def test_a_process_that_keeps_the_output_open_does_not_hold_up_the_end(stage: Stage) -> None:
    code = """
import os, subprocess, sys
other = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
)
open(str(other.pid), "w").close()
os._exit(2)
"""
    begun = time.monotonic()

    ending = stage.run(stage.plan(code))

    assert ending.given_up == ("a-0",)
    assert time.monotonic() - begun < 5
    [other] = _pids(stage.directory)
    os.kill(other, signal.SIGKILL)
