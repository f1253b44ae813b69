"""A fleet's files: from a tree to frozen values, or to every fault in them, each with file and line.

`fleet.toml` names the hosts; a Debian host's own file (`fleet_debian`) says what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from server.core import config, fleet_debian
from server.core import fleet_values as values
from server.core.definition import DebianHost, Fleet, HostEntry
from server.core.errors import Fault, FleetFaults, Refused
from server.core.fleet_reader import Reader, Section, suggest
from server.core.fleet_values import show
from server.core.states import Backend
from server.core.toml_lines import Document
from server.core.tree import EXECUTABLE, FILE, Tree

FLEET = "fleet.toml"
"""The file at the root that makes a repository a fleet."""
MOST_HOSTS = 1000
"""Hosts of one fleet at the most."""

HOST_KEYS = (
    "backend", "address", "port", "user", "jump", "host_key", "config", "tags", "wave", "timeouts", "limits",
)  # fmt: skip
LIMIT_KEYS = tuple(item.name for item in fields(config.Limits) if item.name not in config.DURATIONS)


@dataclass(frozen=True)
class Checked:
    """All that is known of a fleet's files.

    Attributes:
        fleet: The hosts that could be read; None where there is no readable fleet.toml.
        hosts: The evaluated definitions of its Debian hosts, those with faults left out.
        faults: All faults of all files, in order.
        described: Every path that the description reads, or would read if it were there.
        names: All hosts that fleet.toml names, faulty ones too.
    """

    fleet: Fleet | None
    hosts: Mapping[str, DebianHost]
    faults: tuple[Fault, ...]
    described: frozenset[str]
    names: tuple[str, ...] = ()


def load(tree: Tree) -> Fleet:
    """The fleet that fleet.toml describes.

    Raises:
        FleetFaults: All that is wrong in fleet.toml.
    """
    reader = Reader(tree)
    fleet = _load(reader)[0]
    if fleet is None or reader.faults:
        raise FleetFaults(tuple(reader.faults))
    return fleet


def evaluate(tree: Tree, fleet: Fleet, name: str) -> DebianHost:
    """The definition of one host.

    Raises:
        FleetFaults: All that is wrong in the host's files.
        Refused: There is no such host, or its backend cannot be built.
    """
    host = fleet.host(name)
    if host is None:
        hint = suggest(name, [host.name for host in fleet.hosts])[2:]
        raise Refused(f"there is no host {show(name)} in {FLEET}", mend=hint)
    if host.backend is not Backend.DEBIAN:
        raise Refused(
            f"the {host.backend} backend is not built yet: {name} cannot be evaluated",
            where=f"{FLEET}:{host.line}",
            mend='use backend = "debian", or wait for a toto that builds it',
        )
    reader = Reader(tree)
    found = fleet_debian.evaluate(reader, name, host.config, fleet.sources)
    if found is None:
        raise FleetFaults(tuple(reader.faults))
    return found


def check(tree: Tree) -> Checked:
    """All faults of all files of the fleet together; raises nothing for them."""
    reader = Reader(tree)
    fleet, configs = _load(reader)
    sound = {host.name for host in fleet.hosts} if fleet else set()
    hosts = {}
    for name, config_path in configs.items():
        # A host whose entry has a fault is evaluated all the same: the faults of its own files are told with it.
        if config_path is not None:
            found = fleet_debian.evaluate(reader, name, config_path, fleet.sources if fleet else ())
            if found is not None and name in sound:
                hosts[name] = found
    return Checked(fleet, hosts, tuple(sorted(reader.faults)), frozenset(reader.described), tuple(configs))


def _load(reader: Reader) -> tuple[Fleet | None, dict[str, str | None]]:
    """As much of the fleet as can be read, and for every name of a host its Debian file; faults are the reader's."""
    reader.described.add(FLEET)
    entry = reader.tree.entries.get(FLEET)
    if entry is None:
        reader.fault(FLEET, 0, "is missing at the root of the repository; it names the fleet's hosts")
        return None, {}
    if entry.mode not in (FILE, EXECUTABLE):
        reader.fault(FLEET, 0, "is no plain file; a link cannot stand in for it")
        return None, {}
    document = reader.document(FLEET)
    if document is None:
        return None, {}
    top = Section(reader, document)
    top.known("fleet", "defaults", "hosts")
    name, sources = _fleet_section(top)
    hosts, configs = _hosts(reader, document, top)
    return Fleet(name, hosts, sources), configs


def _fleet_section(top: Section) -> tuple[str, tuple[str, ...]]:
    section = top.section("fleet")
    if section is None:
        if not top.has("fleet"):
            top.fault('no table [fleet]; write [fleet] and name = "…" below it')
        return "", ()
    section.known("name", "sources")
    if not section.has("name"):
        section.fault('[fleet] has no name; write name = "…"')
    name = section.value("name", str, values.fleet_name) or ""
    return name, tuple(source for source, _ in section.values("sources", values.source))


def _hosts(reader: Reader, document: Document, top: Section) -> tuple[tuple[HostEntry, ...], dict[str, str | None]]:
    defaults = top.section("defaults") or Section(reader, Document(document.path))
    said = _host_keys(defaults)
    hosts: list[HostEntry] = []
    configs: dict[str, str | None] = {}
    for name, section in top.sections("hosts"):
        if len(configs) == MOST_HOSTS:
            section.fault(f"more than {MOST_HOSTS} hosts in one fleet; make a second one")
            break
        configs[name] = None
        before = reader.met
        if (merged := _host(reader, name, section, defaults, said)) is None:
            continue
        if merged.get("backend") is Backend.DEBIAN:
            configs[name] = merged["config"]
        if reader.met == before and merged["config"] is not None:
            hosts.append(HostEntry(name=name, line=section.line(), **merged))
    return tuple(hosts), configs


def _host_keys(section: Section) -> dict[str, Any]:
    """The keys of [defaults] or of one host, as far as they are set and sound."""
    section.known(*HOST_KEYS)
    found: dict[str, Any] = {
        "backend": section.value("backend", str, _backend),
        "address": section.value("address", str, values.address),
        "port": section.value("port", int, values.port),
        "user": section.value("user", str, values.user),
        "jump": section.value("jump", str, values.jump),
        "host_key": section.value("host_key", str, values.host_key),
        "config": section.value("config", str, str),
        "wave": section.value("wave", int, values.wave),
    }
    if section.has("tags"):
        found["tags"] = tuple(dict.fromkeys(tag for tag, _ in section.values("tags", values.tag)))
    found["timeouts"] = _amounts(section, "timeouts", config.DURATIONS, lambda _: config.seconds)
    found["limits"] = _amounts(section, "limits", LIMIT_KEYS, lambda key: _count if key == "cpus" else config.size)
    return {key: value for key, value in found.items() if value is not None}


def _backend(text: str) -> Backend:
    known = [backend.value for backend in Backend]
    if text not in known:
        hint = suggest(text, known, f"; there are {' and '.join(known)}")
        raise ValueError(f"{show(text)} is no backend{hint}")
    return Backend(text)


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= 256:
        raise ValueError("wants a whole number from 1 to 256")
    return value


def _amounts(
    section: Section, name: str, known: tuple[str, ...], reading: Callable[[str], Callable[[Any], Any]]
) -> dict[str, Any] | None:
    """A table of durations or sizes."""
    inner = section.section(name)
    if inner is None:
        return None
    inner.known(*known)
    found = {}
    for key in inner.table:
        if key in known:
            found[key] = inner.value(key, object, lambda given, key=key: _amount(given, reading(key)))  # type: ignore[misc]
    return {key: value for key, value in found.items() if value is not None}


def _amount(given: object, reading: Callable[[Any], Any]) -> Any:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise ValueError('wants a number, or text such as "5m" or "512M"')
    return reading(given)


def _host(
    reader: Reader, name: str, section: Section, defaults: Section, said: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The merged keys of one host, its file under `config`; None where its very name is a fault."""
    try:
        values.host_name(name)
    except ValueError as error:
        section.fault(str(error))
        return None
    own = _host_keys(section)
    merged = {**said, **own}
    for key in ("timeouts", "limits"):
        merged[key] = {**said.get(key, {}), **own.get(key, {})}
    for key, hint in (("backend", '"debian" or "nixos"'), ("address", "its host name or IP address")):
        if not section.has(key) and not defaults.has(key):
            section.fault(f"{section.title} has no {key}; write {key} = {hint}")
    given = section if section.has("config") else defaults
    merged["config"] = _config(reader, name, merged, section, given) if "backend" in merged else None
    return merged


def _config(reader: Reader, name: str, merged: Mapping[str, Any], section: Section, given: Section) -> str | None:
    """The host's own file, or for a flake the flake; None where it is missing, which is a fault."""
    if (wanted := merged.get("config")) is not None:
        return given.value("config", str, lambda _: reader.find(FLEET, wanted))
    debian = merged["backend"] is Backend.DEBIAN
    choices = [f"hosts/{name}.toml"] if debian else [f"hosts/{name}.nix", "flake.nix"]
    problems = []
    for choice in choices:
        try:
            return reader.find(FLEET, choice)
        except ValueError as error:
            problems.append(str(error))
    section.fault(f'{section.title}: {" and ".join(problems)}; make it, or name another file with config = "…"')
    return None
