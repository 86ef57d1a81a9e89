"""`bananas top` on a real terminal, with a real worker."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import redis

from bananas_topology import Client
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from tests.cli.screen import on_screen
from tests.cli.shell import Shell
from tests.waiting import wait_for

_FAST = ("top", "--interval", "100ms")


def _words(frame: list[str]) -> list[list[str]]:
    return [line.split() for line in frame]


@pytest.mark.usefixtures("worker")
def test_top_shows_queues_pools_and_running_jobs_in_80_columns(
    shell: Shell, producer: Client, keys: Keys, tmp_path: Path
) -> None:
    (tmp_path / "topology.yaml").write_text(
        f"version: 1\nname: shop\nhandlers: [jobs]\nredis: {{key_prefix: {keys.prefix}}}\n"
        "pools: {w: {replicas: 3, concurrency: 10}}\n"
    )
    producer.enqueue("double", 1)
    producer.enqueue("unknown", priority="high")
    held = producer.enqueue("hold", str(tmp_path / "go"), priority="low")

    with on_screen(shell, *_FAST, "--file", "topology.yaml") as screen:
        # While `double` runs, it may be the one that is shown.
        frame = screen.wait_for("no handler: unknown", "[1 running 1]", "dead 0  completed 1")
        words = _words(frame)
        (tmp_path / "go").touch()
        screen.wait_for("[1 running 0]")
        screen.wait_for("dead 0  completed 2")

    assert len(frame) == 24
    assert max(map(len, frame)) <= 80
    assert words[0][3:5] == ["shop", next(w for w in words[0] if w.startswith("redis://"))]
    assert ["w", "1/3", "1/10", "10%"] in words
    [row] = [line for line in words if line[0:1] == [">"]]
    assert row[2:5] == ["hold", "low", "w-0"]
    assert held.startswith(row[5].removesuffix("…"))
    assert "q quit" in frame[-1]


@pytest.mark.usefixtures("worker")
def test_an_operator_finds_out_why_a_job_died_and_retries_it(
    shell: Shell, producer: Client, inspector: Inspector, client: redis.Redis, keys: Keys
) -> None:
    job_id = producer.enqueue("fail", {"order": 7})
    wait_for(lambda: inspector.backlog().dead == 1)

    with on_screen(shell, *_FAST) as screen:
        screen.wait_for("dead 1")
        screen.press("3")
        screen.wait_for("Bury: no use")
        screen.press("\r")
        looked = screen.wait_for("traceback")
        screen.press("\x1b")
        screen.wait_for("[3 dead 1]")
        screen.press("r")
        screen.wait_for(f"{job_id} requeued")
        wait_for(lambda: client.hget(keys.stats, "failed") == b"2")
        screen.wait_for("[3 dead 1]")
        screen.press("q")

        assert screen.wait() == 0

    assert ["payload", '{"order":', "7}"] in _words(looked)
    assert ["status", "failed"] in _words(looked)


@pytest.mark.usefixtures("worker")
def test_a_running_job_cannot_be_retried(shell: Shell, producer: Client, tmp_path: Path) -> None:
    producer.enqueue("hold", str(tmp_path / "go"))

    with on_screen(shell, *_FAST) as screen:
        screen.wait_for("[1 running 1]")
        screen.press("\r")
        screen.wait_for("processing (worker w-0)")
        screen.press("r")
        screen.wait_for("only dead jobs can be retried")


@pytest.mark.usefixtures("worker")
def test_jobs_are_filtered_and_the_view_can_be_paused(
    shell: Shell, producer: Client, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        producer.enqueue("hold", str(tmp_path / name), id=f"job-{name}")

    with on_screen(shell, *_FAST) as screen:
        screen.wait_for("[1 running 2]")
        screen.press("/two\r")
        filtered = screen.wait_for('filter "two": 1')
        screen.press("\x1b")
        wait_for(lambda: any("job-one" in line for line in screen.frame()))
        screen.press(" ")
        screen.wait_for("PAUSED")
        (tmp_path / "one").touch()
        wait_for(lambda: producer.get("job-one").status == "completed")
        paused = screen.wait_for("[1 running 2]")
        screen.press(" ")
        screen.wait_for("[1 running 1]")

    assert [line.split()[5] for line in filtered if "hold" in line] == ["job-two"]
    assert any("job-one" in line for line in paused)


@pytest.mark.usefixtures("worker")
def test_the_view_follows_the_size_of_the_terminal(shell: Shell) -> None:
    with on_screen(shell, *_FAST) as screen:
        narrow = screen.wait_for("[1 running 0]")
        screen.resize(200, 50)
        screen.process.send_signal(signal.SIGWINCH)
        wait_for(lambda: len(screen.frame()) == 50)
        wide = screen.wait_for("[1 running 0]")
        screen.resize(20, 6)
        screen.process.send_signal(signal.SIGWINCH)
        wait_for(lambda: len(screen.frame()) == 6)
        tiny = screen.frame()

    assert not any("queue" in line and "pool" in line for line in narrow)
    assert any("queue" in line and "pool" in line for line in wide)
    assert max(map(len, tiny)) <= 20


def test_top_says_that_redis_is_gone_and_goes_on_when_it_is_back(
    shell: Shell, tmp_path: Path
) -> None:
    with BundledServer(tmp_path / "server", durable=False) as server:
        url = server.start()
        with (
            redis.Redis.from_url(url) as client,
            on_screen(shell, *_FAST, "--redis-url", url) as screen,
        ):
            screen.wait_for("[1 running 0]")
            client.shutdown(nosave=True)
            gone = screen.wait_for("Redis unavailable for")
            screen.press("2")
            screen.wait_for("[2 workers 0]")
            wait_for(lambda: _is_back(server, client))
            wait_for(lambda: not any("Redis unavailable" in line for line in screen.frame()))
            client.shutdown(nosave=True)
            screen.wait_for("Redis unavailable for")
            screen.press("q")

            assert screen.wait() == 0

    assert "as of" in gone[0]
    assert "Connection refused" in " ".join(gone[1:3])


def _is_back(server: BundledServer, client: redis.Redis) -> bool:
    server.restart_if_dead()
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize(("number", "code"), [(0, 0), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_terminal_is_left_as_it_was(shell: Shell, number: int, code: int) -> None:
    with on_screen(shell, *_FAST) as screen:
        screen.wait_for("[1 running 0]")
        during = screen.read_attributes()
        if number:
            screen.process.send_signal(number)
        else:
            screen.press("q")

        assert screen.wait() == code
        assert during != screen.attributes == screen.read_attributes()
        wait_for(lambda: screen.output.rstrip().endswith(("\x1b[?1049l\x1b[?25h", "\x1b[?1049l")))
        assert "Traceback" not in screen.output


def test_top_in_a_pipe_names_the_command_for_scripts(shell: Shell) -> None:
    result = shell("top")

    assert (result.returncode, result.stdout) == (2, "")
    assert "bananas queues --format json" in result.stderr


def test_intervals_are_checked_before_anything_is_drawn(shell: Shell) -> None:
    for text in ("soon", "1ms"):
        code, shown = shell.on_terminal("top", "--interval", text)

        assert code == 2
        assert "--interval" in shown
        assert "\x1b[?1049h" not in shown
