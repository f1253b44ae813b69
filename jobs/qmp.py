"""The QEMU Machine Protocol: one JSON object a line, over a socket (QEMU's docs/interop/qmp-spec)."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from server.core.errors import VmTrouble

MAX_LINE = 1024 * 1024


class Qmp:
    """QEMU's monitor. Not for several threads at once.

    Args:
        channel: The socket; the caller closes it.

    Attributes:
        events: Names of the events seen so far, in order.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._socket = channel
        self._buffer = b""
        self.events: list[str] = []

    def greet(self, timeout: float) -> None:
        """Wait for QEMU's greeting and enter command mode.

        Raises:
            VmTrouble: QEMU did not greet in time, or hung up.
        """
        deadline = time.monotonic() + timeout
        while "QMP" not in self._read(deadline):
            pass
        self.execute("qmp_capabilities", timeout=max(0.1, deadline - time.monotonic()))

    def execute(
        self, command: str, arguments: dict[str, Any] | None = None, *, timeout: float = 30.0, fds: tuple[int, ...] = ()
    ) -> Any:
        """Run a command and return its answer; `fds` go along with it (for `getfd`).

        Raises:
            VmTrouble: QEMU refused it, did not answer in time, or hung up.
        """
        deadline = time.monotonic() + timeout
        said = {"execute": command, **({"arguments": arguments} if arguments else {})}
        line = json.dumps(said).encode() + b"\n"
        try:
            self._socket.settimeout(timeout)
            sent = socket.send_fds(self._socket, [line], list(fds)) if fds else self._socket.send(line)
            self._socket.sendall(line[sent:])
        except OSError as error:
            raise VmTrouble(f"QEMU's monitor hung up at {command}: {error}") from error
        while True:
            answer = self._read(deadline)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise VmTrouble(f"QEMU refused {command}: {answer['error'].get('desc', 'no reason given')}")

    def wait_event(self, name: str, timeout: float) -> None:
        """Wait for an event that has not been seen yet.

        Raises:
            VmTrouble: It did not come in time, or QEMU hung up.
        """
        deadline = time.monotonic() + timeout
        while name not in self.events:
            self._read(deadline)
        self.events.remove(name)

    def _read(self, deadline: float) -> dict[str, Any]:
        """The next message; events are remembered."""
        while b"\n" not in self._buffer:
            self._fill(deadline)
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            message = json.loads(line)
        except ValueError as error:
            raise VmTrouble(f"QEMU's monitor said something that is no JSON: {line[:200]!r}") from error
        if not isinstance(message, dict):
            raise VmTrouble(f"QEMU's monitor said something that is no object: {line[:200]!r}")
        if "event" in message:
            self.events.append(str(message["event"]))
        return message

    def _fill(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise VmTrouble("QEMU's monitor did not answer in time")
        self._socket.settimeout(left)
        try:
            data = self._socket.recv(65536)
        except TimeoutError as error:
            raise VmTrouble("QEMU's monitor did not answer in time") from error
        except OSError as error:
            raise VmTrouble(f"QEMU's monitor hung up: {error}") from error
        if not data or len(self._buffer) > MAX_LINE:
            raise VmTrouble("QEMU's monitor hung up")
        self._buffer += data
