from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from jobs.machine_console import Console


def read(path: Path, *pieces: bytes, limit: int = 1000) -> Console:
    ours, theirs = socket.socketpair()
    console = Console(ours, path, limit)
    with theirs:
        for piece in pieces:
            theirs.sendall(piece)
    console.drained(5)
    console.close()
    return console


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_short_console_is_kept_whole(tmp_path: Path) -> None:
    read(tmp_path / "console", b"first\n", b"last\n")
    assert (tmp_path / "console").read_bytes() == b"first\nlast\n"


def test_a_flood_keeps_beginning_and_end_and_says_what_is_missing(tmp_path: Path) -> None:
    flood = b"".join(b"line %d\n" % number for number in range(200_000))
    read(tmp_path / "console", b"BEGIN\n", flood, b"END\n", limit=10_000)
    kept = (tmp_path / "console").read_bytes()
    assert len(kept) < 10_200
    assert kept.startswith(b"BEGIN\n") and kept.endswith(b"END\n")
    assert b"bytes of the console left out here" in kept


def test_a_panic_is_seen_across_two_pieces_and_after_a_flood(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    console = Console(ours, tmp_path / "console", 1000)
    with theirs:
        theirs.sendall(b"x" * 1_000_000 + b"\n[    2.1] Kernel pa")
        until(lambda: (tmp_path / "console").exists())
        theirs.sendall(b"nic - not syncing: VFS: Unable to mount root fs\r\nmore\n")
        until(lambda: console.panic)
    console.close()
    assert console.panic == "Kernel panic - not syncing: VFS: Unable to mount root fs"


def test_no_panic_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "console", b"all is well\n").panic is None


def test_the_last_line_comes_without_escapes(tmp_path: Path) -> None:
    console = read(tmp_path / "console", b"one\n", b"\x1b[0;1;32mweb login:\x1b[0m \r\n\n")
    assert console.last_line() == "web login:"


def test_an_empty_console_says_so(tmp_path: Path) -> None:
    assert read(tmp_path / "console").last_line() == "nothing was printed"
