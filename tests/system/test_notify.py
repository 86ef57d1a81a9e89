from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from bananas_topology.system.notify import Notification, Notifier, NotifySocket


def test_message_arrives_with_the_sender_s_process_id(tmp_path: Path) -> None:
    with NotifySocket(tmp_path / "n") as receiver:
        with closing(Notifier(str(tmp_path / "n"))) as sender:
            sender.send(READY=1, STATUS="a=b")

        fields = {"MAINPID": str(os.getpid()), "READY": "1", "STATUS": "a=b"}
        assert receiver.receive() == [Notification(os.getpid(), fields)]
        assert receiver.receive() == []


def test_messages_that_make_no_sense_have_no_sender(tmp_path: Path) -> None:
    with (
        NotifySocket(tmp_path / "n") as receiver,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        for message in (b"", b"\xff\0", b"MAINPID=-1", b"MAINPID=x\nREADY=1"):
            sender.sendto(message, str(tmp_path / "n"))

        assert [each.pid for each in receiver.receive()] == [0, 0, 0, 0]


def test_address_is_taken_out_of_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "/run/s", "PATH": "/bin"}

    assert Notifier.from_environ(environ).is_wanted
    assert environ == {"PATH": "/bin"}
    assert not Notifier.from_environ(environ).is_wanted


def test_sender_ignores_a_receiver_that_is_gone_or_does_not_read(tmp_path: Path) -> None:
    with closing(Notifier(str(tmp_path / "n"))) as sender:
        sender.send(READY=1)
        with NotifySocket(tmp_path / "n") as receiver:
            for _ in range(1000):
                sender.send(READY=1)
            assert 0 < len(receiver.receive()) < 1000
        sender.send(READY=1)
    Notifier("").send(READY=1)

    assert not (tmp_path / "n").exists()


def test_socket_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path;"
        "from bananas_topology.system.notify import NotifySocket;"
        "NotifySocket(Path(sys.argv[1])); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "n")], check=True)
    assert (tmp_path / "n").exists()

    with NotifySocket(tmp_path / "n") as receiver:
        with closing(Notifier(str(tmp_path / "n"))) as sender:
            sender.send(READY=1)

        assert len(receiver.receive()) == 1
        assert (tmp_path / "n").stat().st_mode & 0o777 == 0o600
