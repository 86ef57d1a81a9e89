"""A systemd of its own, for tests: in namespaces, with no units but those of the test."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_for

#: Units that the tested one refers to, empty here.
_TARGETS = ("test", "basic", "sysinit", "shutdown", "network-online", "multi-user", "system.slice")

_NAMESPACES = ("--pid", "--mount", "--uts", "--ipc", "--cgroup", "--net")

#: Becomes the first process of its namespaces, in which nobody else sees what it mounts.
_BOOT = """\
set -e
mount --make-rprivate /
mount --make-rshared /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /srv
mount -t tmpfs tmpfs /var/log
cp -a {files}/. /srv
{binds}
umount -R /sys/fs/cgroup || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=test SYSTEMD_UNIT_PATH={units} \\
  {systemd} --system --unit=test.target --log-target=null
"""


def _systemd() -> str | None:
    found = (Path(each) for each in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd"))
    return next((str(path) for path in found if path.exists()), None)


def _cgroups() -> Path | None:
    """Where version 2 of cgroups is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return Path(place)
    return None


def can_run() -> bool:
    """Whether this host lets us have one: as root, outside of most containers."""
    return (
        sys.platform == "linux"
        and os.geteuid() == 0
        and None not in (_systemd(), _cgroups(), shutil.which("nsenter"))
        and subprocess.run(
            [
                "unshare",
                *_NAMESPACES,
                "--fork",
                "--mount-proc",
                "mount",
                "-t",
                "tmpfs",
                "x",
                "/srv",
            ],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )


@dataclass(frozen=True)
class SystemdHost:
    """A running systemd; `pid` is its process."""

    pid: int

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `systemctl`, or another program, as that systemd sees it."""
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "--", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Read properties of a unit."""
        done = self("systemctl", "show", unit, "--property", ",".join(names))
        return dict(line.split("=", 1) for line in done.stdout.splitlines())


@contextmanager
def running_systemd(directory: Path) -> Iterator[SystemdHost]:
    """Run one, with the units of `directory`/units, and the files of `directory`/srv in /srv.

    There, /srv/python runs this interpreter with its packages, wherever these are.
    """
    paths = [Path(sys.base_prefix), *(path for each in sys.path if (path := Path(each)).is_dir())]
    places = [f"/srv/paths/{number}" for number in range(len(paths))]
    binds = [
        f"mkdir -p {place} && mount --rbind {shlex.quote(str(path))} {place}"
        for path, place in zip(paths, places, strict=True)
    ]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = directory / "srv" / "python"
    python.write_text(
        f"#!/bin/sh\nexport PYTHONHOME={places[0]} PYTHONPATH={':'.join(places[1:])}\n"
        f"export LD_LIBRARY_PATH={places[0]}/lib\n"
        f'exec {places[0]}/bin/{version} "$@"\n'
    )
    python.chmod(0o755)
    cgroups = _cgroups()
    assert cgroups is not None
    group = cgroups / f"bananas-test-{os.getpid()}"
    group.mkdir()
    for name in _TARGETS:
        unit = name if "." in name else f"{name}.target"
        (directory / "units" / unit).write_text(
            f"[Unit]\nDescription={name}\nDefaultDependencies=no\n"
        )
    boot = _BOOT.format(
        files=shlex.quote(str(directory / "srv")),
        units=shlex.quote(str(directory / "units")),
        systemd=_systemd(),
        binds="\n".join(binds),
    )
    # It joins the group before it unshares the namespace that makes this the root.
    join = f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))}; exec "
    unshare = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", "sh", "-c", boot]
    process = subprocess.Popen(["sh", "-c", join + shlex.join(unshare)], stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: _children(process.pid))
        host = SystemdHost(_children(process.pid)[0])
        wait_for(lambda: host("systemctl", "is-active", "test.target").stdout == "active\n", 30)
        yield host
    finally:
        with suppress(IndexError, ProcessLookupError):
            os.kill(_children(process.pid)[0], signal.SIGKILL)
        process.kill()
        process.wait()
        wait_for(lambda: _removed(group))


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def _removed(group: Path) -> bool:
    """Remove a group with those below it, once their processes are gone."""
    try:
        for path, _, _ in os.walk(group, topdown=False):
            os.rmdir(path)
    except OSError:
        return False
    return True
