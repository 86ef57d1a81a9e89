from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bananas_topology.supervisor import monitor as monitor_module
from bananas_topology.supervisor import state as state_module
from bananas_topology.supervisor.exits import OutOfMemoryKills, describe
from bananas_topology.supervisor.state import ChildState, Phase, Report, parse_report
from bananas_topology.supervisor.supervisor import RunResult
from tests.supervisor.stage import FAST, REPORTING, Script, Stage

#: Writes a file named after its process id, and says in the first so many lives what `{}` is.
COUNTING = f"""{REPORTING}
open(str(os.getpid()), "w").close()
lives = len([each for each in os.listdir() if each.isdecimal()])
"""


def _lives(stage: Stage) -> int:
    return len([path for path in stage.directory.iterdir() if path.name.isdecimal()])


def test_child_that_was_ready_is_never_given_up(stage: Stage) -> None:
    lives = 2 * FAST.max_failed_starts
    code = f"""{COUNTING}
signal.signal(signal.SIGTERM, signal.SIG_IGN)
report()
if lives == {lives}: os.kill(os.getppid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGSEGV)
"""

    result = stage.run(stage.plan(code))

    assert result == RunResult(drained=False, given_up=(), killed=())
    assert _lives(stage) == lives
    [child] = stage.supervisor.children
    assert child.exits == lives
    assert child.last_exit == "crashed: SIGSEGV (segmentation fault)"


def test_counts_add_up_over_restarts(stage: Stage) -> None:
    code = f"""{COUNTING}
report(slots=3, busy=1, completed=10, failed=1)
if lives < 3: sys.exit(1)
{"os.kill(os.getppid(), signal.SIGTERM)"}
time.sleep(60)
"""

    stage.run(stage.plan(code))

    [child] = stage.supervisor.children
    assert (child.completed, child.failed, child.starts) == (30, 3, 3)


def test_phases_follow_what_the_child_reports(stage: Stage) -> None:
    seen: list[Phase] = []
    # It goes on, and in the end exits, only once the phase before has been seen.
    code = f"""{REPORTING}
def wait_until_seen(phases):
    while not os.path.exists(f"seen-{{phases}}"): time.sleep(0.01)
signal.signal(signal.SIGTERM, lambda *_: (wait_until_seen(5), os._exit(0)))
report(ready=False)
for phases, ready in enumerate((True, False, True), 1):
    wait_until_seen(phases)
    report(ready)
wait_until_seen(4)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""

    def watch() -> None:
        phase = stage.supervisor.children[0].phase
        if phase not in seen[-1:]:
            seen.append(phase)
            (stage.directory / f"seen-{len(seen)}").touch()

    stage.run(stage.plan(code), sources=[lambda _: Script(watch)])

    first = [Phase.STARTING, Phase.READY, Phase.UNREADY, Phase.READY, Phase.STOPPING]
    assert [phase for phase in seen if phase is not Phase.EXITED] == first


@pytest.mark.parametrize(
    "stall", ["os.kill(os.getpid(), signal.SIGSTOP)", "signal.pause()", "time.sleep(60)"]
)
def test_child_without_progress_writes_its_stacks_and_is_replaced(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, stall: str
) -> None:
    monkeypatch.setattr(state_module, "STALL_S", 0.5)
    if "SIGSTOP" not in stall:
        monkeypatch.setattr(monitor_module, "STACKS_TIMEOUT_S", 20.0)
    # The second life reports nothing, or it might stall as well.
    code = f"""{COUNTING}
import faulthandler
faulthandler.enable()
if lives == 1:
    report()
    {stall}
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""

    result = stage.run(stage.plan(code))

    assert result == RunResult(drained=False, given_up=(), killed=())
    [child] = stage.supervisor.children
    assert _lives(stage) == child.starts == 2
    if "SIGSTOP" not in stall:
        assert b"most recent call first" in stage.shown


def test_stalled_child_is_replaced_with_a_limit(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_module, "STALL_S", 0.3)
    phases: list[Phase] = []

    def stop_when_left_alone() -> None:
        [child] = stage.supervisor.children
        if child.has_warned:
            phases.append(child.phase)
            stage.supervisor.quit()

    stage.run(
        stage.plan(f"{COUNTING}\nreport()\ntime.sleep(60)", grace_ms=100),
        sources=[lambda _: Script(stop_when_left_alone)],
    )

    assert _lives(stage) == 1 + state_module.MAX_REPLACEMENTS
    assert phases[0] is Phase.STALLED
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("child stalled, replacing it: its stacks follow") == 3
    assert "child stalled, not replaced: it was 3 times within 60 min already" in messages


def test_slow_start_is_no_stall(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "STALL_S", 0.2)
    code = f"{COUNTING}\ntime.sleep(1)\nos.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(60)"

    stage.run(stage.plan(code))

    assert _lives(stage) == 1


def test_report_of_a_foreign_process_is_ignored(stage: Stage) -> None:
    code = f"""{REPORTING}
if os.fork() == 0:
    report()
    os._exit(0)
os.wait()
time.sleep(0.2)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""

    stage.run(stage.plan(code))

    assert not stage.supervisor.children[0].was_ever_ready


@pytest.mark.parametrize("status", ["", "[]", "text", '{"slots": "x"}', '{"other": 1}'])
def test_unreadable_counts_are_zero(status: str) -> None:
    assert parse_report(status, is_ready=False) == Report()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (1, "exit code 1: unexpected error, or Redis or a port cannot be used"),
        (75, "exit code 75: restart requested: too few free slots"),
        (131, "exit code 131: stopped by SIGQUIT"),
        (255, "exit code 255"),
        (-15, "killed by SIGTERM"),
        (-9, "killed by SIGKILL"),
        (-6, "crashed: SIGABRT (aborted)"),
        (-64, "killed by SIGRTMAX"),
        (-35, "killed by signal 35"),
    ],
)
def test_exits_are_explained_in_words(code: int, words: str) -> None:
    assert describe(code) == words


def test_stall_explains_an_exit_better_than_the_signal_that_ended_it() -> None:
    assert describe(-6, stalled_s=31.2) == "replaced: no progress for 31 s"


def test_kill_by_the_kernel_for_lack_of_memory_is_recognized(tmp_path: Path) -> None:
    counter = tmp_path / "vmstat"
    counter.write_text("pgpgin 1\noom_kill 3\n")
    kills = OutOfMemoryKills(str(counter))
    assert not kills.has_happened()

    counter.write_text("pgpgin 1\noom_kill 4\n")
    assert kills.has_happened()
    kills.update()

    assert not kills.has_happened()
    assert not OutOfMemoryKills(str(tmp_path / "missing")).has_happened()


def test_used_memory_and_processor_time_are_measured(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "SAMPLE_S", 0.1)
    measured: list[ChildState] = []

    def stop_when_measured() -> None:
        [child] = stage.supervisor.children
        # While it is being started, it has hardly any memory.
        has_memory = child.usage is not None and child.usage.memory_bytes > 1_000_000
        if has_memory and child.cpu_percent is not None and not measured:
            measured.append(child)
            os.kill(os.getpid(), signal.SIGTERM)

    stage.run(
        stage.plan(f"{REPORTING}\ntime.sleep(60)"), sources=[lambda _: Script(stop_when_measured)]
    )

    assert measured
