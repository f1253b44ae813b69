"""Stage logs: the file is the log. A byte offset into its uncompressed text is the cursor everywhere."""

from __future__ import annotations

import gzip
import os
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.core.config import Config
from server.core.states import StageName

LIMIT_REACHED = b"\ntoto: the log's limit is reached; its end follows when the stage ends\n"
HEAD_SHARE = 0.75
"""Part of a log's limit that its beginning gets; the rest is kept for its end."""


def run_folder(config: Config, run_id: str) -> Path:
    """Where a run's logs lie."""
    return config.folder("runs", run_id)


class LogWriter:
    """Appends to one stage's log. A flood is cut in the middle, visibly; what was written never changes.

    Args:
        path: The file; its folder is made.
        limit: Bytes that the file may reach (the sentence about the cut comes on top).
        grown: Called with the file's new length after each write.
    """

    def __init__(self, path: Path, limit: int, grown: Callable[[int], None] = lambda _length: None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._length = self._file.tell()
        self._head = int(limit * HEAD_SHARE)
        self._tail_limit = limit - self._head
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._cut = 0
        self._grown = grown

    def write(self, data: bytes) -> None:
        """Append bytes as they are."""
        room = max(0, self._head - self._length)
        if room and not self._tail:
            self._put(data[:room])
            data = data[room:]
        if data:
            self._keep_for_the_end(data)

    def line(self, text: str) -> None:
        """Append a sentence of toto's own."""
        self.write(f"toto: {text}\n".encode())

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._length += len(data)
        self._grown(self._length)

    def _keep_for_the_end(self, data: bytes) -> None:
        if not self._tail and not self._cut:
            self._put(LIMIT_REACHED)
        self._tail.append(data[-self._tail_limit :])
        self._tail_size += len(self._tail[-1])
        self._cut += len(data) - len(self._tail[-1])
        while self._tail_size > self._tail_limit and len(self._tail) > 1:
            gone = self._tail.popleft()
            self._tail_size -= len(gone)
            self._cut += len(gone)

    def close(self) -> None:
        """Write the kept end, and close."""
        if self._tail:
            if self._cut:
                self._put(f"toto: [{self._cut:,} bytes were cut here]\n".encode())
            self._put(b"".join(self._tail))
            self._tail.clear()
        self._file.close()


@dataclass(frozen=True)
class LogPiece:
    """Part of a log.

    Attributes:
        data: The bytes.
        offset: Where they begin in the uncompressed text.
        length: How long the log is now.
    """

    data: bytes
    offset: int
    length: int


def log_path(config: Config, run_id: str, stage: StageName) -> Path:
    """The file of a stage's log, while the run lives."""
    return run_folder(config, run_id) / f"{stage.value}.log"


def read_log(config: Config, run_id: str, stage: StageName, offset: int = 0, limit: int = 1 << 20) -> LogPiece:
    """Up to `limit` bytes of a log from `offset`; empty where there is none yet."""
    plain = log_path(config, run_id, stage)
    for _ in range(2):  # the file may be compressed between the two looks
        try:
            with plain.open("rb") as file:
                length = os.fstat(file.fileno()).st_size
                file.seek(min(offset, length))
                return LogPiece(file.read(limit), min(offset, length), length)
        except FileNotFoundError:
            pass
        try:
            with gzip.open(f"{plain}.gz", "rb") as packed:
                length = packed.seek(0, os.SEEK_END)
                packed.seek(min(offset, length))
                return LogPiece(packed.read(limit), min(offset, length), length)
        except FileNotFoundError:
            continue
    return LogPiece(b"", 0, 0)


def log_length(config: Config, run_id: str, stage: StageName) -> int:
    """How long a stage's log is now, uncompressed; 0 where there is none."""
    plain = log_path(config, run_id, stage)
    for _ in range(2):  # the file may be compressed between the two looks
        try:
            return plain.stat().st_size
        except FileNotFoundError:
            pass
        try:
            with Path(f"{plain}.gz").open("rb") as packed:  # RFC 1952: the last four bytes are the length
                packed.seek(-4, os.SEEK_END)
                return int.from_bytes(packed.read(4), "little")
        except FileNotFoundError:
            continue
    return 0


def compress(config: Config, run_id: str) -> None:
    """Pack the logs of a run that has ended."""
    for plain in run_folder(config, run_id).glob("*.log"):
        packed = plain.with_name(plain.name + ".gz")
        making = packed.with_suffix(".new")
        with plain.open("rb") as source, gzip.open(making, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target)
        making.replace(packed)
        plain.unlink()
