"""A tree in memory, for what reads a repository's files without needing git."""

from __future__ import annotations

from collections.abc import Mapping

from server.core.tree import EXECUTABLE, FILE, LINK, Entry


class MemoryTree:
    """Files by path; a value `(mode, content)` sets git's mode."""

    def __init__(self, files: Mapping[str, str | bytes | tuple[int, str | bytes]]) -> None:
        self.content: dict[str, bytes] = {}
        self.entries: dict[str, Entry] = {}
        for path, given in files.items():
            mode, content = given if isinstance(given, tuple) else (FILE, given)
            data = content.encode() if isinstance(content, str) else content
            self.content[path] = data
            self.entries[path] = Entry(mode, f"{len(self.entries):040x}", len(data))

    def read(self, path: str) -> bytes:
        return self.content[path]


def link(target: str) -> tuple[int, str]:
    return LINK, target


def executable(content: str) -> tuple[int, str]:
    return EXECUTABLE, content
