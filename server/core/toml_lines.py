"""The line of each key of a TOML file.

Neither tomllib nor tomlkit tells it (cpython#115516, tomlkit#55). So tomllib reads the file, and decides alone whether
it is TOML and what it says; a text that it took is walked once more here, only to note where each key and each element
of an array begins. The walk may therefore trust its text to be well formed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server.core.errors import Fault

Key = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, numbers of elements from 0."""

LARGEST = 256 * 1024
"""Bytes of a TOML file of a fleet at the most."""
DOTS = 64
"""Dotted names in a row at the most: tomllib's memory grows with their square."""

_NAME = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_CHAIN = re.compile(rf"{_NAME}(?:[ \t]*+\.[ \t]*+{_NAME}){{{DOTS},}}+")
_PART = re.compile(r"""([A-Za-z0-9_-]+)|("(?:[^"\\\n]|\\.)*")|('[^'\n]*')""")
_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}' r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


@dataclass(frozen=True)
class Document:
    """A TOML file as read.

    Attributes:
        path: File in the repository.
        data: What it says.
        lines: Line of each key, table and element, from 1.
    """

    path: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[Key, int] = field(default_factory=dict)

    def line(self, *key: str | int) -> int:
        """Line of that key, or of the nearest thing around it; 0 where there is none."""
        while key:
            if found := self.lines.get(key):
                return found
            key = key[:-1]
        return 0


def read(path: str, content: bytes) -> Document | Fault:
    """The file as a document, or the one fault for which it cannot be read at all."""
    if len(content) > LARGEST:
        return too_large(path, len(content))
    try:
        text = content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Fault(path, line, f"is not UTF-8 text: byte 0x{content[error.start]:02x}")
    if chain := _CHAIN.search(text):
        return Fault(path, text.count("\n", 0, chain.start()) + 1, f"more than {DOTS} dotted names in a row")
    try:
        return Document(path, tomllib.loads(text), lines(text))
    except tomllib.TOMLDecodeError as error:
        return _syntax(path, text, str(error))
    except RecursionError:
        return Fault(path, 0, "arrays or tables are nested too deeply")
    except ValueError as error:
        # For instance a number of more digits than Python converts: no TOMLDecodeError, and no line.
        return Fault(path, 0, f"holds a value that cannot be read: {error}")


def too_large(path: str, size: int) -> Fault:
    """The fault of a file of more than `LARGEST` bytes."""
    return Fault(path, 0, f"{size} bytes are more than a fleet's file may have ({LARGEST}); split it up with include")


def _syntax(path: str, text: str, message: str) -> Fault:
    """The complaint of tomllib as a fault; its line stands at the end of its message."""
    match = re.fullmatch(r"(.*) \((?:at line (\d+), column (\d+)|at end of document)\)", message, re.DOTALL)
    if match is None:
        return Fault(path, 0, f"is not TOML: {message}")
    line = int(match[2]) if match[2] else max(1, len(text.splitlines()))
    column = f" (column {match[3]})" if match[3] else " (at the end of the file)"
    return Fault(path, line, f"is not TOML: {' '.join(match[1].split())}{column}")


def lines(text: str) -> dict[Key, int]:
    """Line of each key path in `text`, which tomllib has accepted and whose line ends are plain newlines.

    A table's line is that of its header; one that has none has the line of the first header that implies it.
    """
    return _Walk(text).document()


class _Walk:
    """One pass over a text: `at` is the place, `line` its line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.found: dict[Key, int] = {}
        self.implied: dict[Key, int] = {}
        self.arrays: dict[Key, int] = {}

    def document(self) -> dict[Key, int]:
        table: Key = ()
        self.skip(_SPACE)
        while self.at < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self.array_header()
            elif self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.skip(_SPACE)
        return {**self.implied, **self.found}

    def skip(self, pattern: re.Pattern[str]) -> str:
        """Move over what `pattern` matches here, and count the lines in it."""
        match = pattern.match(self.text, self.at)
        assert match is not None, f"not TOML after all, at line {self.line}"  # noqa: S101 - tomllib took the text
        self.at = match.end()
        self.line += match[0].count("\n")
        return match[0]

    def note(self, key: Key) -> None:
        self.found.setdefault(key, self.line)

    def header(self) -> Key:
        self.at += 1
        key = self.below((), self.dotted())
        self.note(key)
        self.at += 1
        return key

    def array_header(self) -> Key:
        self.at += 2
        names = self.dotted()
        array = (*self.below((), names[:-1]), names[-1])
        number = self.arrays[array] = self.arrays.get(array, -1) + 1
        self.note(array)
        self.note((*array, number))
        self.at += 2
        return (*array, number)

    def below(self, table: Key, names: list[str]) -> Key:
        """The path of a dotted name below a table: inside an array of tables it means the array's newest."""
        for name in names:
            table = (*table, name)
            self.implied.setdefault(table, self.line)
            if table in self.arrays:
                table = (*table, self.arrays[table])
        return table

    def dotted(self) -> list[str]:
        names = [self.name()]
        while self.text.startswith(".", self.at):
            self.at += 1
            names.append(self.name())
        return names

    def name(self) -> str:
        self.skip(_BLANK)
        raw = self.skip(_PART)
        self.skip(_BLANK)
        return str(tomllib.loads(f"name = {raw}")["name"]) if raw[0] in "\"'" else raw

    def pair(self, table: Key) -> None:
        names = self.dotted()
        for count in range(1, len(names) + 1):
            self.note((*table, *names[:count]))
        self.at += 1
        self.skip(_BLANK)
        self.value((*table, *names))

    def value(self, key: Key) -> None:
        match self.text[self.at]:
            case '"' | "'":
                self.skip(_STRING)
            case "[":
                self.elements(key)
            case "{":
                self.inline(key)
            case _:
                self.skip(_SCALAR)

    def elements(self, key: Key) -> None:
        self.at += 1
        number = 0
        self.skip(_SPACE)
        while self.text[self.at] != "]":
            self.note((*key, number))
            self.value((*key, number))
            number += 1
            self.comma()
        self.at += 1

    def inline(self, key: Key) -> None:
        self.at += 1
        self.skip(_SPACE)
        while self.text[self.at] != "}":
            self.pair(key)
            self.comma()
        self.at += 1

    def comma(self) -> None:
        self.skip(_SPACE)
        if self.text[self.at] == ",":
            self.at += 1
            self.skip(_SPACE)
