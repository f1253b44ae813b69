"""A Debian host's own file and what it includes, evaluated.

Includes come first, in their order, then the file that includes them: on the same path, and for `suite`, the later one
wins, so the including file over all its includes. Packages and units are unions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from server.core import fleet_values as values
from server.core.definition import DebianHost, FileEntry, Requirement
from server.core.fleet_reader import Reader, Section
from server.core.fleet_values import show
from server.core.tree import EXECUTABLE

MOST_FILES = 64
"""TOML files that make up one host at the most."""
MOST_CONTENT = 64 * 1024**2
"""Bytes of all files of one host at the most."""


@dataclass
class _Sum:
    """What the files said so far."""

    suite: str | None = None
    packages: dict[str, Requirement] = field(default_factory=dict)
    files: dict[PurePosixPath, tuple[FileEntry, str, int]] = field(default_factory=dict)
    enable: dict[str, None] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)


def evaluate(reader: Reader, name: str, config: str, sources: tuple[str, ...]) -> DebianHost | None:
    """The host's definition; None where there are faults, which the reader holds then."""
    before = reader.met
    total = _Sum()
    _add(reader, total, config, ())
    if total.suite is None and reader.met == before:
        reader.fault(config, 0, 'no suite; write suite = "bookworm", here or in an included file')
    _check_files(reader, total, config)
    if total.suite is None or reader.met > before:
        return None
    return DebianHost(
        name=name,
        suite=total.suite,
        packages=tuple(sorted(total.packages.values(), key=str)),
        files=tuple(entry for _, (entry, _, _) in sorted(total.files.items())),
        enable=tuple(sorted(total.enable)),
        sources=tuple(source.replace("{suite}", total.suite) for source in sources),
    )


def _add(reader: Reader, total: _Sum, path: str, above: tuple[str, ...]) -> None:
    """Add a file after everything that it includes; a file included twice counts once, at its first place."""
    total.read.add(path)
    document = reader.document(path)
    if document is None:
        return
    top = Section(reader, document)
    top.known("suite", "include", "packages", "files", "units")
    for found, line in list(top.values("include", lambda text: reader.find(path, text))):
        if found in (*above, path):
            circle = " includes ".join([*(*above, path)[(*above, path).index(found) :], found])
            reader.fault(path, line, f"include goes round in a circle: {circle}")
        elif len(total.read) >= MOST_FILES and found not in total.read:
            reader.fault(path, line, f"more than {MOST_FILES} files make up one host; merge some")
        elif found not in total.read:
            _add(reader, total, found, (*above, path))
    total.suite = top.value("suite", str, values.suite) or total.suite
    _packages(reader, total, top)
    _files(reader, total, top)
    _units(total, top)


def _packages(reader: Reader, total: _Sum, top: Section) -> None:
    for wanted, line in top.values("packages", values.package):
        earlier = total.packages.get(wanted.name)
        if earlier is None or earlier.version is None:
            total.packages[wanted.name] = wanted
        elif wanted.version not in (None, earlier.version):
            text = f"packages: {show(wanted)} here, but {show(earlier)} elsewhere for the same host; keep one"
            reader.fault(top.document.path, line, text)


def _units(total: _Sum, top: Section) -> None:
    if units := top.section("units"):
        units.known("enable")
        total.enable |= dict.fromkeys(name for name, _ in units.values("enable", values.unit))


def _files(reader: Reader, total: _Sum, top: Section) -> None:
    for name, section in top.sections("files"):
        section.known("source", "content", "mode", "owner")
        entry = _file(reader, name, section)
        if entry is not None:
            total.files[entry.path] = (entry, top.document.path, section.line())


def _file(reader: Reader, name: str, section: Section) -> FileEntry | None:
    try:
        path = values.target_path(name)
    except ValueError as error:
        section.fault(f"files: {error}")
        return None
    mode = section.value("mode", str, values.mode)
    owner = section.value("owner", str, values.owner)
    if section.has("source") == section.has("content"):
        amount = "not both" if section.has("source") else "and has neither"
        section.fault(f"{section.title} wants a source or a content, {amount}")
        return None
    base = section.document.path
    source = section.value("source", str, lambda text: reader.find(base, text))
    content = section.value("content", str, str.encode)
    default = 0o644
    if source is not None:
        content = section.value("source", str, lambda _: reader.content(source))
        default = 0o755 if reader.tree.entries[source].mode == EXECUTABLE else 0o644
    if content is None:
        return None
    return FileEntry(path, content, default if mode is None else mode, owner or "root:root")


def _check_files(reader: Reader, total: _Sum, config: str) -> None:
    """What can be said only of all files of a host together."""
    for path, (_, document, line) in total.files.items():
        for parent in path.parents:
            if parent in total.files:
                text = f"files: {show(parent)} is a file on the same host, so {show(path)} cannot be one"
                reader.fault(document, line, text)
    if (size := sum(len(entry.content) for entry, _, _ in total.files.values())) > MOST_CONTENT:
        text = f"the files of one host have {size} bytes, more than {MOST_CONTENT}; put data into packages"
        reader.fault(config, 0, text)
