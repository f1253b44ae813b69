"""Real services for tests, each in a folder of its own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis


def wait_until(holds: Callable[[], object], seconds: float = 10.0, what: str = "it") -> None:
    """Wait for a condition; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds:g} s")
        time.sleep(0.02)


def answers(client: redis.Redis) -> bool:
    """Whether a Redis answers."""
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[Path]:
    """A Redis of the system on the socket `redis.sock` of a folder."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    assert program, "no Redis is installed: script/setup --dev"
    socket = folder / "redis.sock"
    argv = [
        program,
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--dir",
        str(folder),
        "--save",
        "",
        "--appendonly",
        "yes",
    ]
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = redis.Redis(unix_socket_path=str(socket))
        wait_until(lambda: answers(client), what="Redis")
        client.close()
        yield socket
    finally:
        child.terminate()
        child.wait(20)
