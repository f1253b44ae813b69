"""Takes apart what `run-tests` prints: frames that name the files, and between them the files' own output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FRAME_LIMIT = 4096
"""Bytes; a longer line that looks like a frame is a test's own output."""


@dataclass(frozen=True)
class Begin:
    """A file starts."""

    name: str


@dataclass(frozen=True)
class End:
    """A file ended."""

    name: str
    code: int
    timed_out: bool
    cut: bool


@dataclass(frozen=True)
class Done:
    """The last file ended: nothing is missing."""


Frame = Begin | End | Done


class Demultiplexer:
    """Reads the stream in pieces that end anywhere; output is handed on at once, but for what may become a frame."""

    def __init__(self, nonce: str, on_frame: Callable[[Frame], None], on_data: Callable[[bytes], None]) -> None:
        self._marker = f"#toto:{nonce} ".encode()
        self._on_frame = on_frame
        self._on_data = on_data
        self._held = b""
        self._line_start = True

    def feed(self, data: bytes) -> None:
        """Read the next piece."""
        data, self._held = self._held + data, b""
        at = 0
        while at < len(data):
            if self._line_start and (after := self._frame_at(data, at)) is not None:
                if after < 0:
                    self._held = data[at:]
                    return
                at = after
                continue
            at = self._output(data, at)

    def close(self) -> None:
        """The stream has ended: what was held back is output."""
        if self._held:
            self._on_data(self._held)
            self._held = b""

    def _frame_at(self, data: bytes, at: int) -> int | None:
        """Where the frame at `at` ends; -1 where more has to be read to know; None where there is none."""
        if not data.startswith(self._marker, at):
            rest = data[at : at + len(self._marker)]
            return -1 if len(rest) < len(self._marker) and self._marker.startswith(rest) else None
        end = data.find(b"\n", at)
        if end < 0:
            return -1 if len(data) - at < FRAME_LIMIT else None
        frame = parse(data[at + len(self._marker) : end])
        if frame is None:
            return None
        self._on_frame(frame)
        return end + 1

    def _output(self, data: bytes, at: int) -> int:
        """Hand on output up to the next line that may be a frame."""
        found = data.find(b"\n" + self._marker, at)
        if found < 0:
            newline = data.rfind(b"\n", at)
            tail = data[newline + 1 :]
            found = newline if newline >= 0 and self._marker.startswith(tail) else len(data) - 1
        self._on_data(data[at : found + 1])
        self._line_start = data[found : found + 1] == b"\n"
        return found + 1


def parse(text: bytes) -> Frame | None:
    """A frame's text behind its marker; None where it is none."""
    match text.decode(errors="replace").rstrip("\r").split(" "):
        case ["begin", name]:
            return Begin(name)
        case ["end", name, code, *why] if code.isdecimal() and len(code) < 6 and why in ([], ["timeout"], ["cut"]):
            return End(name, int(code), why == ["timeout"], why == ["cut"])
        case ["done"]:
            return Done()
    return None
