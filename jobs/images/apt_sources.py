"""Where a host's packages come from: the builder's own apt sources with the host's suite, or those of fleet.toml.

Of the builder's sources only Debian's own count: entries whose suite is this machine's codename, or its `-updates` or
`-security`. Other repositories are other people's, and a fleet that wants them says so in fleet.toml.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from server.core.control import paragraphs
from server.core.errors import Trouble

ETC = Path("/etc/apt")
ROLLING = ("sid", "unstable", "experimental")
"""Suites that have neither updates nor security."""
KEPT = ("signed-by", "trusted", "check-valid-until", "check-date", "allow-insecure", "inrelease-path")
"""Options of an entry that are kept: how it is verified. Others (architectures, languages) are toto's choice."""

_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<components>[^#]*)")


@dataclass(frozen=True)
class Source:
    """One apt source: an archive's address and what is used of it."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()
    """By lower-case name; an inline key of `signed-by` keeps its lines."""

    def text(self) -> str:
        """As a paragraph of a .sources file (sources.list(5))."""
        lines = ["Types: deb", f"URIs: {' '.join(self.uris)}", f"Suites: {' '.join(self.suites)}"]
        lines += [f"Components: {' '.join(self.components)}"] if self.components else []
        lines += [f"{name.title()}: {value}" for name, value in self.options]
        return "\n".join(lines) + "\n"


def sources(
    suite: str, given: Iterable[str] = (), etc: Path | None = None, codename: str | None = None
) -> tuple[Source, ...]:
    """The sources for a host of that suite.

    Args:
        suite: The host's suite.
        given: One-line sources of fleet.toml, `{suite}` already replaced; where there are some, they alone count.
        etc: The builder's apt configuration; `ETC` where None.
        codename: The builder's own suite; read from the system where None.

    Raises:
        Trouble: The builder has no Debian source to derive one from.
    """
    if said := tuple(found for line in given if (found := one_line(line))):
        return said
    own = codename or machine_codename()
    kept = tuple(changed for source in builder_sources(etc or ETC) if (changed := for_suite(source, own, suite)))
    if not kept:
        raise Trouble(
            f"this machine's apt sources name no archive of Debian {own}, from which one for {suite} could be derived",
            where=str(etc or ETC),
            mend='add one there, or write it in fleet.toml: [fleet] sources = ["deb URL {suite} main"]',
        )
    return kept


def machine_codename() -> str:
    """The codename of the Debian that this machine runs; empty where it runs something else."""
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        return ""


def for_suite(source: Source, own: str, suite: str) -> Source | None:
    """The source with the host's suite instead of the builder's own; None where it is not one of Debian's."""
    wanted = []
    for name in source.suites:
        plain, separator, pocket = name.partition("-")
        if plain == own and pocket in ("", "updates", "security") and not (pocket and suite in ROLLING):
            wanted.append(f"{suite}{separator}{pocket}")
    if not wanted or not own:
        return None
    return Source(source.uris, tuple(wanted), source.components, source.options)


def builder_sources(etc: Path) -> tuple[Source, ...]:
    """All entries for binary packages in the builder's sources, both formats, in apt's order."""
    found: list[Source] = []
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for file in files:
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        if file.suffix == ".list":
            found += [source for line in text.splitlines() if (source := one_line(line))]
        elif file.suffix == ".sources":
            found += deb822(text)
    return tuple(found)


def one_line(line: str) -> Source | None:
    """A line `deb [options] URI SUITE COMPONENT…`; None for anything else, such as a comment or deb-src."""
    match = _ONE_LINE.match(line.strip())
    if match is None:
        return None
    pairs = [pair.partition("=") for pair in (match["options"] or "").split()]
    options = tuple((name.lower(), value) for name, _, value in pairs if name.lower() in KEPT)
    return Source((match["uri"],), (match["suite"],), tuple(match["components"].split()), options)


def deb822(text: str) -> list[Source]:
    """The entries of a .sources file that are enabled and have binary packages."""
    found = []
    for paragraph in paragraphs(text):
        fields = {name.lower(): value for name, value in paragraph.items()}
        off = fields.get("enabled", "yes").lower() in ("no", "false", "0", "off", "without", "disable")
        if off or "deb" not in fields.get("types", "").split():
            continue
        options = tuple((name, value) for name, value in fields.items() if name in KEPT)
        uris, suites = tuple(fields.get("uris", "").split()), tuple(fields.get("suites", "").split())
        found.append(Source(uris, suites, tuple(fields.get("components", "").split()), options))
    return found
