"""A virtual environment per peer, so that their requirements cannot conflict."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.catalogue import Peer

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".venv-bench" / "peers"
BULLMQ = Path(__file__).parent / "peers" / "bullmq"


class CannotInstall(Exception):
    """A peer cannot be measured on this machine, with the reason."""


def prepare(peer: Peer) -> None:
    """Install the peer, unless this version is installed already.

    Raises:
        CannotInstall: the installation failed, or needs a program that is missing.
    """
    if not peer.is_python:
        _prepare_node(peer)
    elif peer.requirements:
        _prepare_python(peer)


def python_of(peer: Peer) -> str:
    """The interpreter for the peer's code; the current one for Bananas."""
    return str(HOME / peer.module / "bin" / "python") if peer.requirements else sys.executable


def node_path(peer: Peer) -> str:
    """Where Node finds the peer's packages."""
    return str(HOME / peer.module / "node_modules")


def _prepare_python(peer: Peer) -> None:
    home = HOME / peer.module
    requirements = "\n".join(peer.requirements)
    done = home / ".installed"
    if done.exists() and done.read_text() == requirements:
        return
    shutil.rmtree(home, ignore_errors=True)
    _run(peer, [sys.executable, "-m", "venv", str(home)], ROOT)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    _run(peer, [*pip, "--disable-pip-version-check", *peer.requirements], ROOT)
    done.write_text(requirements)


def _prepare_node(peer: Peer) -> None:
    home = HOME / peer.module
    package = (BULLMQ / "package.json").read_text()
    done = home / ".installed"
    if done.exists() and done.read_text() == package:
        return
    if shutil.which("npm") is None:
        raise CannotInstall(f"{peer.title} needs node and npm, which are not installed")
    home.mkdir(parents=True, exist_ok=True)
    (home / "package.json").write_text(package)
    _run(peer, ["npm", "install", "--silent", "--no-audit", "--no-fund"], home)
    done.write_text(package)


def _run(peer: Peer, command: list[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise CannotInstall(f"{peer.title} cannot be installed: {''.join(last)}")
