"""Reading a fleet's files: one fault after the other, each with its place; nothing raised until all are known."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator
from pathlib import PurePosixPath
from typing import TypeVar

from server.core import toml_lines
from server.core.errors import Fault
from server.core.fleet_values import show
from server.core.toml_lines import Document, Key
from server.core.tree import EXECUTABLE, FILE, LINK, SUBMODULE, Entry, Tree

Value = TypeVar("Value")
Kind = TypeVar("Kind")

MOST_LINKS = 20
"""Symbolic links on the way to one file at the most."""
MOST_FAULTS = 200
"""Faults that are told at once at the most: a terminal, not a book."""
LARGEST_SOURCE = 16 * 1024**2
"""Bytes of one file of a host at the most: files are configuration, programs come in packages."""

_KINDS = {str: "text", int: "a whole number", list: "a list", dict: "a table", bool: "true or false"}


def suggest(word: str, known: Collection[str], otherwise: str = "") -> str:
    """The known word that was probably meant, as a question."""
    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {show(near[0])}?" if near else otherwise


class Reader:
    """A tree, the documents read from it, the faults found, and every path that was looked at.

    Attributes:
        met: How often a fault was met, by one host or the next; whoever sees it grow has no sound result.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.faults: list[Fault] = []
        self.met = 0
        self.described: set[str] = set()
        self._documents: dict[str, Document | None] = {}

    def fault(self, path: str, line: int, text: str) -> None:
        """Note one fault; the same one, met by a second host, is told once."""
        fault = Fault(path, line, text)
        self.met += 1
        if fault not in self.faults and len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)

    def document(self, path: str) -> Document | None:
        """The TOML file there, read once; None where it cannot be read, which is a fault then."""
        if path not in self._documents:
            entry = self.tree.entries[path]
            if entry.size > toml_lines.LARGEST:
                found: Document | Fault = toml_lines.too_large(path, entry.size)
            else:
                found = toml_lines.read(path, self.tree.read(path))
            if isinstance(found, Fault):
                self.fault(found.path, found.line, found.text)
            self._documents[path] = found if isinstance(found, Document) else None
        document = self._documents[path]
        self.met += document is None
        return document

    def find(self, base: str, relative: str) -> str:
        """The path of the file that `relative` means, seen from the folder of `base`; links within are followed.

        Raises:
            ValueError: It leads out of the repository, does not exist, or is no file; with a sentence.
        """
        if not relative or not relative.isprintable():
            raise ValueError(f"{show(relative)} is no path")
        if relative.startswith("/"):
            raise ValueError(f"{show(relative)} is absolute; write it relative to {base}")
        entry, path = self._walk(str(PurePosixPath(base).parent), relative)
        if entry is None:
            raise ValueError(self._missing(path, relative))
        return path

    def _walk(self, folder: str, relative: str) -> tuple[Entry | None, str]:
        done = [part for part in folder.split("/") if part not in ("", ".")]
        todo = relative.split("/")[::-1]
        links = 0
        entry: Entry | None = None
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if entry is not None:
                raise ValueError(f"{show(relative)}: {show('/'.join(done))} is a file, not a folder")
            if part == "..":
                if not done:
                    raise ValueError(f"{show(relative)} leads out of the repository")
                done.pop()
                continue
            path = "/".join([*done, part])
            entry = self.tree.entries.get(path)
            if not todo or (entry is not None and entry.mode == LINK):
                self.described.add(path)
            if entry is None or entry.mode in (FILE, EXECUTABLE):
                done.append(part)
            elif entry.mode == LINK:
                links += 1
                todo += self._link(path, relative, links)
                entry = None
            else:
                kind = "a submodule" if entry.mode == SUBMODULE else f"of git's mode {entry.mode:o}"
                raise ValueError(f"{show(relative)}: {show(path)} is {kind}, whose files toto does not have")
        return entry, "/".join(done)

    def _link(self, path: str, relative: str, links: int) -> list[str]:
        """The parts of a link's target, last first."""
        goal = self.tree.read(path).decode(errors="replace")
        if goal.startswith("/"):
            raise ValueError(f"{show(relative)}: {show(path)} links out of the repository, to {show(goal)}")
        if links > MOST_LINKS:
            raise ValueError(f"{show(relative)}: too many links, or links that go round in a circle")
        return goal.split("/")[::-1]

    def _missing(self, path: str, relative: str) -> str:
        if any(name.startswith(f"{path}/") for name in self.tree.entries) or not path:
            return f"{show(relative)} is a folder, not a file"
        return f"there is no file {show(path)}{suggest(path, self.tree.entries)}"

    def content(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
            ValueError: It is too large.
        """
        if (size := self.tree.entries[path].size) > LARGEST_SOURCE:
            raise ValueError(f"{show(path)} has {size} bytes, more than a fleet's file may have ({LARGEST_SOURCE})")
        return self.tree.read(path)


class Section:
    """One table of a document, and how to take values out of it."""

    def __init__(self, reader: Reader, document: Document, key: Key = (), title: str = "") -> None:
        self.reader = reader
        self.document = document
        self.key = key
        self.title = title
        table = document.data
        for name in key:
            table = table[name]  # type: ignore[index]
        self.table = table

    def fault(self, text: str, *key: str | int) -> None:
        """A fault at a key of this table, or at the table itself."""
        self.reader.fault(self.document.path, self.line(*key), text)

    def line(self, *key: str | int) -> int:
        """Line of a key of this table."""
        return self.document.line(*self.key, *key)

    def place(self, name: str) -> str:
        """A key of this table as messages name it."""
        return f"{self.title} {name}" if self.title else name

    def known(self, *names: str) -> None:
        """All other keys are faults."""
        where = f" in {self.title}" if self.title else ""
        for name in self.table:
            if name not in names:
                hint = suggest(name, names, f"; known keys: {', '.join(names)}")
                self.fault(f"unknown key {show(name)}{where}{hint}", name)

    def has(self, name: str) -> bool:
        """Whether the key is there."""
        return name in self.table

    def value(self, name: str, kind: type[Kind], check: Callable[[Kind], Value]) -> Value | None:
        """The checked value of a key; None where it is missing, or was a fault."""
        if name not in self.table:
            return None
        return self._checked(self.table[name], kind, check, name)

    def values(self, name: str, check: Callable[[str], Value]) -> Iterator[tuple[Value, int]]:
        """The checked elements of a list of texts, each with its line."""
        given = self.value(name, list, lambda value: value)
        for number, item in enumerate(given or ()):
            found = self._checked(item, str, check, name, number)
            if found is not None:
                yield found, self.line(name, number)

    def section(self, name: str, title: str = "") -> Section | None:
        """The table under a key."""
        if self.value(name, dict, lambda value: value) is None:
            return None
        return Section(self.reader, self.document, (*self.key, name), title or f"[{self._dotted(name)}]")

    def sections(self, name: str) -> Iterator[tuple[str, Section]]:
        """The tables below the table under a key, by name."""
        outer = self.section(name)
        for inner in outer.table if outer else ():
            found = outer.section(inner) if outer else None
            if found is not None:
                yield inner, found

    def _dotted(self, name: str) -> str:
        parts = map(str, (*self.key, name))
        return ".".join(part if part.replace("-", "").replace("_", "").isalnum() else show(part) for part in parts)

    def _checked(
        self, value: object, kind: type[Kind], check: Callable[[Kind], Value], *key: str | int
    ) -> Value | None:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            given = _KINDS.get(type(value), "something else")
            self.fault(f"{self.place(str(key[0]))}: wants {_KINDS[kind]}, not {given}", *key)
            return None
        try:
            return check(value)
        except ValueError as error:
            self.fault(f"{self.place(str(key[0]))}: {error}", *key)
            return None
