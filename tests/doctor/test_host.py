"""Checks of this host fire on what it lacks for the topology."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

from bananas_topology.doctor.check import Status
from bananas_topology.doctor.examination import Disk
from tests.doctor.seeding import SOUND, examined, results

WARNING, FAILURE = Status.WARNING, Status.FAILURE


def test_limits_and_disks_of_this_host_are_compared_with_what_the_topology_needs() -> None:
    examination = examined(SOUND)
    host = replace(
        examination.host,
        max_open_files=64,
        disks=tuple(Disk(disk.path, 2**20, disk.total) for disk in examination.host.disks),
    )

    found = results(replace(examination, host=host))
    logging = examined(SOUND + "logging: {file: {enabled: true}}")
    with_logs = results(replace(logging, host=host))

    assert found["DR301"].verdict.status is FAILURE
    assert found["DR303"].verdict.status is FAILURE
    assert with_logs["DR303"].verdict.status is FAILURE


def test_the_disk_of_a_log_folder_that_does_not_exist_yet_is_checked(tmp_path: Path) -> None:
    text = SOUND + f"logging: {{file: {{enabled: true, path: {tmp_path}/logs/worker/w.log}}}}"

    examination = examined(text)

    assert [disk.path for disk in examination.host.disks] == [Path.cwd(), tmp_path]


def test_a_port_in_use_is_found_also_while_up_runs_with_another() -> None:
    with socket.create_server(("", 0)) as server:
        text = SOUND + f"api: {{port: {server.getsockname()[1]}}}"

        taken, foreign = results(examined(text)), results(examined(text, is_up=True))

    assert taken["DR304"].verdict.status is FAILURE
    assert foreign["DR304"].verdict.status is FAILURE
    assert results(examined(text, is_up=True))["DR304"].verdict.status is WARNING
    assert results(examined(text))["DR304"].verdict.status is Status.OK
