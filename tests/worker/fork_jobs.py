"""Handlers that fork."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from bananas_topology import job

FORK = multiprocessing.get_context("fork")


def _square(number: int) -> int:
    return number * number


def _end_of(pid: int) -> int | str:
    """The exit code of a child; one that does not end is killed."""
    until = time.monotonic() + 15
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "did not end"


def _leave(how: str) -> None:
    match how:
        case "exit":
            sys.exit(3)
        case "text":
            sys.exit("farewell")
        case "raise":
            raise ValueError("in the child")
        case "interrupt":
            raise KeyboardInterrupt


@job("fork", max_retries=0)
def fork(how: str) -> Any:
    pid = os.fork()
    if pid == 0:
        print(f"child: {how}", end="")  # without a newline: it is lost unless it is flushed
        _leave(how)
        return "from the child"
    return _end_of(pid)


@job("executor_fork", max_retries=0)
def executor_fork(how: str) -> Any:
    with ThreadPoolExecutor(1) as executor:
        forking = executor.submit(fork, how)
        ran = executor.submit(os.getpid)  # in the same thread, when the other function ends
        assert ran.result() == os.getpid()
        return forking.result()


@job("to_thread_fork", max_retries=0)
async def to_thread_fork(how: str) -> Any:
    return await asyncio.to_thread(fork, how)


@job("fork_twice", max_retries=0)
def fork_twice(payload: Any) -> Any:
    pid = os.fork()
    if pid == 0:
        # Descriptors of its own take the numbers of those that were closed in the child.
        taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
        grandchild = os.fork()
        if grandchild == 0:
            for fd in taken:
                os.fstat(fd)
            sys.exit(5)
        sys.exit(_end_of(grandchild))
    return _end_of(pid)


@job("async_fork", max_retries=0)
async def async_fork(how: str) -> Any:
    pid = os.fork()
    if pid == 0:
        if how == "await":
            await asyncio.Event().wait()
        if how == "task":
            await asyncio.gather(asyncio.create_task(_exit_task()))
        _leave(how)
        return "from the child"
    return await asyncio.to_thread(_end_of, pid)


async def _exit_task() -> None:
    sys.exit(4)


@job("tick", max_retries=0)
async def tick(payload: dict[str, Any]) -> None:
    """Write the process that runs it, again and again."""
    for _ in range(payload["times"]):
        with open(payload["file"], "a") as file:
            file.write(f"{os.getpid()}\n")
        await asyncio.sleep(0)


@job("pool", max_retries=0)
def pool(payload: int) -> list[int]:
    with FORK.Pool(2) as workers:
        return workers.map(_square, range(payload))


@job("spawned_pool", max_retries=0)
def spawned_pool(payload: int) -> list[int]:
    with multiprocessing.get_context("spawn").Pool(2) as workers:
        return workers.map(_square, range(payload))


@job("executor", max_retries=0)
async def executor(payload: int) -> list[int]:
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2, mp_context=FORK) as workers:
        calls = [loop.run_in_executor(workers, _square, number) for number in range(payload)]
        return await asyncio.gather(*calls)


@job("terminate", max_retries=0)
def terminate(payload: int) -> list[int | None]:
    codes = []
    for _ in range(payload):
        child = FORK.Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()  # before the child has run anything
        child.join(15)
        codes.append(child.exitcode)
    return codes


@job("sockets", max_retries=0)
def sockets(payload: Any) -> dict[str, int]:
    """How many sockets and pipes of the worker a child has."""
    before = _descriptors()
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write_fd, " ".join(sorted(_descriptors() & before)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    inherited = os.read(read_fd, 65_536).decode().split()
    os.close(read_fd)
    os.close(write_fd)
    kinds = [name.partition(":")[0] for name in inherited]
    return {"socket": kinds.count("socket"), "pipe": kinds.count("pipe")}


def _descriptors() -> set[str]:
    names = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.add(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue  # that of listdir itself
    return names
