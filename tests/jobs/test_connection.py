from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from bananas_topology.client import Client
from bananas_topology.errors import (
    RedisAccessDenied,
    RedisFull,
    RedisUnavailable,
    RedisUnsuitable,
)
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.connection import address, check_server, connect
from bananas_topology.jobs.dead import DeadJobs
from bananas_topology.jobs.history import HistoryFlush, HistoryReader, TypeCounts
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.replies import ScheduleState
from bananas_topology.jobs.routing import RoutedConnection, Router
from bananas_topology.system.clock import monotonic
from tests.jobs.servers import HOST, Proxy, ask, black_hole, free_port, running, wait_until
from tests.jobs.support import Worker, ack, bury, encoded, retry


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://db", "expected redis://host:6379/0"),
        ("db:6379", "expected redis://host:6379/0"),
        ("redis://db:many", "host or port is not valid"),
        ("redis://db/jobs", "its database is not a number"),
        ("redis://db?decode_responses=1", 'unknown option "decode_responses": expected one of db,'),
        ("rediss://db?ssl_cert_reqs=perhaps", "perhaps"),
        ("redis+sentinel://a:1", "expected redis+sentinel://host:26379"),
        ("redis+sentinel://a:1/service/one", "its database is not a number"),
        ("redis+sentinel://a:1/service/0/0", "expected redis+sentinel://host:26379"),
    ],
)
def test_an_invalid_url_is_rejected_with_what_was_expected(url: str, message: str) -> None:
    with pytest.raises(RedisUnsuitable) as caught:
        connect(url)

    assert message in str(caught.value)


def test_a_server_that_is_not_redis_is_reported() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"<html>bad request</html>\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            connect(f"redis://{HOST}:{port}") as client,
            pytest.raises(RedisUnsuitable, match=rf"the server at {HOST}:{port} is not Redis"),
        ):
            check_server(client)
        thread.join()


def test_the_error_of_an_invalid_url_does_not_show_its_password() -> None:
    forms = [
        "redis://app:hid/hidden@db/0",
        "redis://:hidden:6379",
        "redis://app:hidden@db/0",
        "rediss://:hidden@db",
        "redis+sentinel://app:hidden@a:1,b:2/service?sentinel_password=hidden",
        "unix:///run/redis.sock?password=hidden&db=1",
    ]

    for url in forms:
        with pytest.raises(RedisUnsuitable) as caught:
            connect(url.replace("redis", "radish", 1) if "redis" in url[:6] else f"x{url}")
        assert "hidden" not in str(caught.value)


def test_the_address_of_a_server_has_the_form_of_its_url() -> None:
    assert address(connect("redis://db:7000/1")) == "db:7000"
    assert address(connect("unix:///run/redis.sock")) == "/run/redis.sock"
    assert address(connect("redis+sentinel://a:1,b:2/shop")) == 'the master of "shop"'


def test_a_unix_socket_and_a_password_work(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "server.sock"
    options = ("--unixsocket", str(path), "--requirepass", "secret")
    with running(tmp_path, *options) as port:
        wait_until(path.exists)
        with Client(f"unix://{path}?password=secret") as client:
            job_id = client.enqueue("add", 1)
            assert client.get(job_id).status == "pending"
        with Client(f"redis://default:secret@{HOST}:{port}") as client:
            assert client.get(job_id).status == "pending"
        for wrong in (f"redis://default:guess@{HOST}:{port}", f"redis://{HOST}:{port}"):
            with pytest.raises(RedisAccessDenied, match="denied access"):
                Client(wrong).enqueue("add")


def test_a_password_changed_at_run_time_denies_access(tmp_path: Path, keys: Keys) -> None:
    with running(tmp_path) as port, connect(f"redis://{HOST}:{port}") as client:
        wait_until(client.ping)
        broker = Broker(client, keys)
        broker.enqueue([encoded("a")])
        operator = ask(port)
        operator.config_set("requirepass", "changed")
        operator.client_kill_filter(_type="normal", skipme=True)

        with pytest.raises(RedisUnavailable):
            broker.enqueue([encoded("b")])
        with pytest.raises(RedisAccessDenied):
            broker.enqueue([encoded("b")])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-made certificate and its key in one file, for this host's address."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    extension = f"subjectAltName=IP:{HOST}"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=test", "-addext", extension, "-keyout", path, "-out", f"{path}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def tls_port(server_url: str, certificate: Path) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    proxy = Proxy(_port(server_url), tls=context)
    yield proxy.port
    proxy.close()


def test_tls_is_verified_against_the_ca_in_the_url(
    tls_port: int, certificate: Path, prefix: str
) -> None:
    url = f"rediss://{HOST}:{tls_port}"

    with Client(f"{url}?ssl_ca_certs={certificate}", key_prefix=prefix) as client:
        ids = [client.enqueue("add", "x" * 100_000) for _ in range(3)]
        assert [client.get(job_id).status for job_id in ids] == ["pending"] * 3
    with Client(f"{url}?ssl_cert_reqs=none", key_prefix=prefix) as client:
        assert client.get(ids[0]).status == "pending"
    with pytest.raises(RedisUnavailable, match=r"(?i)certificate"):
        Client(url, key_prefix=prefix).enqueue("add")


def test_a_server_that_a_script_keeps_busy_is_not_ready(tmp_path: Path, keys: Keys) -> None:
    with running(tmp_path) as port, connect(f"redis://{HOST}:{port}") as client:
        wait_until(client.ping)
        client.config_set("lua-time-limit", 1)

        def run_until_killed() -> None:
            with pytest.raises((redis.ResponseError, redis.TimeoutError)):
                client.eval("while true do end", 0)

        thread = threading.Thread(target=run_until_killed)
        thread.start()

        def is_busy() -> bool:
            try:
                client.ping()
            except redis.ResponseError:
                return True
            return False

        wait_until(is_busy)
        with pytest.raises(RedisUnavailable, match="is not ready: BUSY"):
            Inspector(client, keys).overview()
        client.script_kill()
        thread.join()


def test_an_evicting_server_causes_a_warning(client: redis.Redis) -> None:
    assert check_server(client) == []
    client.config_set("maxmemory-policy", "allkeys-lru")

    try:
        [warning] = check_server(client)
    finally:
        client.config_set("maxmemory-policy", "noeviction")

    assert "maxmemory-policy is allkeys-lru" in warning


def test_a_server_out_of_memory_takes_no_new_jobs(tmp_path: Path, keys: Keys) -> None:
    with running(tmp_path) as port, connect(f"redis://{HOST}:{port}") as client:
        wait_until(client.ping)
        broker = Broker(client, keys)
        broker.enqueue([encoded("a")])
        now, new, then = broker.now(), ScheduleState("", ""), ScheduleState("t", "c")
        client.config_set("maxmemory", 1)
        # Which schedulers there are is still known, by which one may fire when there is room again.
        seen = broker.see_schedules({"x": ("d", "c")}, now, is_stopping=False)
        assert seen["x"].is_current
        before = {key: client.dump(key) for key in client.scan_iter()}

        for attempt in (
            lambda: broker.enqueue([encoded("b")]),
            lambda: broker.enqueue([encoded("b", due="+1")]),
            lambda: broker.fire("x", ("d", False), now, new, then, encoded("b")),
        ):
            with pytest.raises(RedisFull, match="out of memory"):
                attempt()

        assert {key: client.dump(key) for key in client.scan_iter()} == before


def test_a_server_out_of_memory_can_be_drained(tmp_path: Path, keys: Keys) -> None:
    with running(tmp_path) as port, connect(f"redis://{HOST}:{port}") as client:
        wait_until(client.ping)
        broker, dead = Broker(client, keys), DeadJobs(client, keys)
        broker.enqueue([encoded(job_id) for job_id in "abcd"])
        client.config_set("maxmemory", 1)
        worker = Worker(broker)
        worker.boot()

        acked, buried, retried, released = worker.exchange(count=4).claims
        settled = worker.exchange([ack(acked), bury(buried), retry(retried, delay_ms=0)])
        assert settled.lost == ()
        assert broker.promote() == 1
        assert broker.recover(worker.consumer, "other.1", []).returned == 1
        assert sorted(worker.claim(2)) == sorted([retried.job_id, released.job_id])
        assert dead.retry().jobs == 1
        [again] = worker.exchange(count=1).claims
        worker.exchange([bury(again)])
        assert dead.purge() == 1
        assert client.llen(keys.dead) == 0
        counts = HistoryFlush.of("token", "default", [TypeCounts("add", 1, 0, 0, [1], [1])])
        broker.heartbeat(worker.consumer, worker.incarnation, {}, boot=False, flush=counts)
        assert len(HistoryReader(client, keys).read("hour").types) == 1


def test_scripts_are_loaded_again_after_a_script_flush(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    worker = Worker(broker)
    broker.enqueue([encoded("a"), encoded("b")])
    client.script_flush()

    assert worker.claim(2) == ["a", "b"]


def test_the_new_master_is_found_after_a_failover(tmp_path: Path, keys: Keys) -> None:
    with (
        running(tmp_path / "one") as first,
        running(tmp_path / "two", "--replicaof", HOST, str(first)) as second,
    ):
        old, new = ask(first), ask(second)
        wait_until(lambda: old.info("replication")["connected_slaves"])
        (tmp_path / "three").mkdir()
        settings = tmp_path / "three" / "sentinel.conf"
        settings.write_text(f"sentinel monitor shop {HOST} {first} 1\n")
        with running(tmp_path / "three", str(settings), "--sentinel") as sentinel:
            asked = ask(sentinel)
            wait_until(lambda: asked.execute_command("SENTINEL", "REPLICAS", "shop"))
            url = f"redis+sentinel://{HOST}:{sentinel},{HOST}:1/shop/0"
            with Client(url, key_prefix=keys.prefix) as client:
                job_id = client.enqueue("add")
                wait_until(lambda: new.llen(keys.queue("normal")) == 1)

                wait_until(partial(_fails_over, asked))
                wait_until(lambda: new.role()[0] == b"master")
                # The client waits for this as well, though not for as long.
                wait_until(lambda: asked.sentinel_get_master_addr_by_name("shop")[1] == second)
                old.replicaof(HOST, second)  # as the sentinel does, some seconds later

                assert client.get(job_id).status == "pending"
                assert client.get(client.enqueue("add")).status == "pending"
                assert new.llen(keys.queue("normal")) == 2


def _fails_over(sentinel: Any) -> bool:
    """Begin a failover; no replica is good enough until the sentinel has heard from it."""
    with contextlib.suppress(redis.ResponseError):
        sentinel.execute_command("SENTINEL", "FAILOVER", "shop")
        return True
    return False


def test_a_cluster_works_with_a_hash_tag_and_when_the_slot_moves(
    tmp_path: Path,
) -> None:
    with (
        running(tmp_path / "one", *_member()) as first,
        running(tmp_path / "two", *_member()) as second,
    ):
        nodes = [ask(port) for port in (first, second)]
        for node in nodes:
            wait_until(node.ping)
        nodes[0].execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        nodes[1].execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        nodes[0].execute_command("CLUSTER", "MEET", HOST, second, _bus(nodes[1]))
        for node in nodes:
            wait_until(partial(_is_whole, node))
        url = f"redis://{HOST}:{first}"

        # The slot of one tag is with either node.
        for tag in ("{bananas}", "{b}"):
            with Client(url, key_prefix=tag) as client:
                assert client.get(client.enqueue("add")).status == "pending"
                assert client.get(client.enqueue("add")).status == "pending"
        with pytest.raises(RedisUnsuitable, match=r"hash tag, such as \{bananas\}"):
            Client(url, key_prefix="bananas").enqueue("add")

        with Client(url, key_prefix="{b}:app") as client:
            slot = nodes[0].execute_command("CLUSTER", "KEYSLOT", "{b}")
            client.enqueue("add")
            _move(nodes, slot)
            assert client.get(client.enqueue("add")).status == "pending"


def _member() -> tuple[str, ...]:
    return ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))


def _bus(node: Any) -> int:
    return int(node.config_get("cluster-port")["cluster-port"])


def _is_whole(node: Any) -> bool:
    return "cluster_state:ok" in str(node.execute_command("CLUSTER", "INFO"))


def _move(nodes: list[Any], slot: int) -> None:
    """Give a slot from whichever of the two nodes has it to the other."""
    names = [node.execute_command("CLUSTER", "MYID") for node in nodes]
    names = [name.decode() if isinstance(name, bytes) else name for name in names]
    source = 0 if slot < 8192 else 1
    target = 1 - source
    to = nodes[target].connection_pool.connection_kwargs["port"]
    nodes[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    nodes[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    while found := nodes[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        nodes[source].execute_command("MIGRATE", HOST, to, "", 0, 5000, "KEYS", *found)
    for node in (nodes[target], nodes[source]):
        node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[target])


@pytest.mark.parametrize("accepts", [True, False], ids=["no reply", "no connection"])
def test_several_sentinels_that_do_not_reply_are_an_error_within_seconds(accepts: bool) -> None:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(black_hole(accepts=accepts)) for _ in range(5)]
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        producer = stack.enter_context(Client(f"redis+sentinel://{hosts}/service"))
        started = monotonic()

        with pytest.raises(RedisUnavailable):
            producer.enqueue("add")

        assert monotonic() - started < 7


def test_several_nodes_that_do_not_reply_are_an_error_within_seconds(keys: Keys) -> None:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(black_hole(accepts=True)) for _ in range(5)]
        router = Router(f"{{{keys.prefix}}}", (HOST, ports[0]))
        for port in ports:
            router._remember((HOST, port))
        connection = RoutedConnection(
            router=router, socket_timeout=1.5, socket_connect_timeout=1.5, protocol=2
        )
        started = monotonic()

        with pytest.raises(redis.TimeoutError):
            connection.connect()

        assert monotonic() - started < 7
        assert connection.socket_timeout == 1.5
