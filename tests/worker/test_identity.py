"""Workers without WORKER_ID on one host, and which id each of them gets."""

from __future__ import annotations

import signal
import socket
from urllib.parse import urlsplit, urlunsplit

import redis

from bananas_topology import Client
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from tests.worker.support import Gate, Starter

HOST = socket.gethostname()


def _ids(client: redis.Redis, keys: Keys) -> list[str]:
    return [worker.worker_id for worker in Inspector(client, keys).workers()]


def test_workers_on_one_host_get_ids_of_their_own_however_they_name_the_server(
    start: Starter, client: redis.Redis, keys: Keys
) -> None:
    url = urlsplit(start.url)
    same = [start.url]
    for host in ("localhost", "0.0.0.0", "127.1"):
        netloc = url.netloc.replace("127.0.0.1", host)
        same.append(urlunsplit(url._replace(netloc=netloc, path="", query="db=0")))

    workers = [start(WORKER_ID="", REDIS_URL=each) for each in same]

    assert sorted(_ids(client, keys)) == [HOST, f"{HOST}-2", f"{HOST}-3", f"{HOST}-4"]
    for worker in workers:
        assert worker.end() == 0
        assert "taken by another process" not in worker.text()


def test_a_worker_that_was_killed_gets_its_id_and_its_claims_back(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys, gate: Gate
) -> None:
    first = start(WORKER_ID="", WORKER_LEASE="60s")
    job_id = producer.enqueue("hold", gate.payload)
    gate.wait_for(1)
    first.end(signal.SIGKILL)

    again = start(WORKER_ID="", WORKER_LEASE="60s")

    again.wait_for_log("claims recovered")
    gate.open()
    producer.wait(job_id, timeout="20s")
    assert _ids(client, keys) == [HOST]


def test_workers_of_different_prefixes_do_not_share_ids(
    start: Starter, client: redis.Redis, keys: Keys, prefix: str
) -> None:
    start(WORKER_ID="")
    start(WORKER_ID="", REDIS_KEY_PREFIX=f"{prefix}-2")

    assert _ids(client, keys) == [HOST]
    assert _ids(client, Keys(f"{prefix}-2")) == [HOST]
