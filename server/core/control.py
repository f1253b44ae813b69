"""Debian's control format (deb-control(5), deb822(5)), as far as toto reads and writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Paragraph = dict[str, str]

_RELATION = re.compile(r"([a-z0-9][a-z0-9+.-]*)")


def paragraphs(text: str) -> Iterator[Paragraph]:
    """The paragraphs of a control file, fields by name as written; further lines of a field keep their newlines."""
    for block in re.split(r"\n[ \t]*\n", text):
        found: Paragraph = {}
        name = ""
        for line in block.split("\n"):
            if not line.strip() or line.startswith("#"):
                continue
            if line[0] in " \t":
                if name:
                    found[name] += "\n" + line
            else:
                name, _, value = line.partition(":")
                found[name] = value.strip()
        if found:
            yield found


def render(fields: Mapping[str, str]) -> str:
    """One paragraph as text, with its final newline."""
    blank = ("", "\n")
    return "".join(f"{name}:{'' if value[:1] in blank else ' '}{value}\n" for name, value in fields.items())


def relations(value: str) -> tuple[tuple[str, ...], ...]:
    """Names in a relation field: groups of alternatives, without versions and architectures."""
    groups = []
    for group in value.replace("\n", " ").split(","):
        names = tuple(match[1] for part in group.split("|") if (match := _RELATION.match(part.strip())))
        if names:
            groups.append(names)
    return tuple(groups)
