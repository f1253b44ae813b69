"""A VM's serial console: read all the time, kept within bounds, watched for a kernel panic."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path

PANIC = b"Kernel panic"
TAIL = 4096
"""Bytes of the console's end that a message may quote."""

_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Za-z0-9]|\x1bc|[\x00-\x08\x0b-\x1f\x7f]")


class Console:
    """Reads a console in a thread of its own and keeps its beginning in a file and its end in memory.

    Args:
        channel: Where the console's bytes come from; closed at the end.
        path: The file that gets them.
        limit: Bytes of the file at the most (and a line that says how many were left out).

    Attributes:
        panic: The line of the first kernel panic; None while there was none.
    """

    def __init__(self, channel: socket.socket, path: Path, limit: int) -> None:
        self._socket = channel
        self._path = path
        self._half = max(1, limit // 2)
        self._end = bytearray()
        self._lost = 0
        self._seen = bytearray()
        self.panic: str | None = None
        self._thread = threading.Thread(target=self._read, name="console", daemon=True)
        self._thread.start()

    def tail(self, size: int = TAIL) -> str:
        """The console's end as text, without escape sequences."""
        return _plain(bytes(self._seen)[-size:])

    def last_line(self) -> str:
        """The last line that says anything."""
        return next(
            (line.strip() for line in reversed(self.tail().splitlines()) if line.strip()), "nothing was printed"
        )

    def drained(self, seconds: float) -> None:
        """Wait until the other end is closed and all of it is read, at the most so long."""
        self._thread.join(seconds)

    def close(self) -> None:
        """Wait until all is read (the other end must be closed by now) and finish the file."""
        self._thread.join(2)
        if self._thread.is_alive():
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._thread.join(2)
        self._socket.close()

    def _read(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            room = self._half
            while data := self._receive():
                self._watch(data)
                file.write(data[:room])
                rest, room = data[room:], max(0, room - len(data))
                self._end += rest
                if (over := len(self._end) - self._half) > 0:
                    del self._end[:over]
                    self._lost += over
            if self._lost:
                file.write(b"\n[toto: %d bytes of the console left out here]\n" % self._lost)
            file.write(self._end)

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except OSError:
            return b""

    def _watch(self, data: bytes) -> None:
        self._seen += data
        if self.panic is None and (at := self._seen.find(PANIC)) >= 0 and (stop := self._seen.find(b"\n", at)) >= 0:
            self.panic = _plain(bytes(self._seen[at:stop])).strip()
        # What is kept to look back is more than a piece read at once, so that no panic falls between two pieces.
        if len(self._seen) > 4 * 65536:
            del self._seen[: -2 * 65536]


def _plain(data: bytes) -> str:
    return _ESCAPES.sub(b"", data).decode(errors="replace")
