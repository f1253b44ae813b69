"""The only way to a target: ports of this machine's loopback, carried into the target's network namespace.

The listening sockets are opened first and stay in this machine's namespace; the process then enters the target's, where
its outgoing connections start. So no bridge, address or route of this machine is touched. A stopped process (SIGSTOP)
is a link that has gone silent; continuing it brings the link back.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import socket
from pathlib import Path

CLONE_NEWNET = 0x40000000
"""linux/sched.h"""


def listener(port: int) -> socket.socket:
    """A listening socket on the loopback; 0 takes a free port."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    return listening


def enter(namespace: Path) -> None:
    """Move this process into a network namespace (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.open("rb") as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns", str(namespace))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
    for side in (writer, far_writer):
        with contextlib.suppress(OSError):
            side.close()


async def _serve(pairs: list[tuple[socket.socket, int]]) -> None:
    servers = [
        await asyncio.start_server(functools.partial(_carry, port=port), sock=listening) for listening, port in pairs
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def daemon(namespace: Path, ports: dict[int, int]) -> int:
    """Start the forwarder in the background: `{here: there}`; returns its process id once it listens.

    Raises:
        OSError: A port is taken.
    """
    pairs = [(listener(here), there) for here, there in ports.items()]
    if child := os.fork():
        for listening, _ in pairs:
            listening.close()
        return child
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    try:
        enter(namespace)
        asyncio.run(_serve(pairs))
    finally:
        os._exit(1)
