"""From a definition to a lock: apt says once which packages the host has, in a private root."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from jobs.images import debs, kernel, refusals
from jobs.images.apt_root import native_architecture
from jobs.images.lock import Lock, Locked
from jobs.images.unprivileged import builder
from server.core.config import Config
from server.core.control import Paragraph, relations
from server.core.definition import DebianHost
from server.core.recorder import StageLog

PATTERNS = ("?essential", "?priority(required)")
"""What no Debian is without (apt-patterns(7))."""
BASE = (
    "apt",
    "ca-certificates",
    "dbus",
    "iproute2",
    "kmod",
    "openssh-server",
    "procps",
    "sudo",
    "systemd-sysv",
    "udev",
)
"""What every host has besides: toto's way in, and what a machine with systemd needs. apt brings gpgv or sqv."""

_INSTALL = re.compile(r"Inst (\S+) (?:\[\S*\] )?\((\S+) .*\[(\w+)\]\)")


def resolve(config: Config, host: DebianHost, log: StageLog) -> Lock:
    """The lock of a host's definition, from what the archives have now.

    Raises:
        BuildRefused: A package or version does not exist, or packages conflict; says which.
        Trouble: The archives cannot be reached, or this machine names none.
    """
    found = builder(config)
    architecture = native_architecture(found)
    refusals.foreign(host, architecture)
    archives = debs.archives(found, host.suite, host.sources, architecture)
    log.line(f"asking the archives of {host.suite} for the packages of {host.name}")
    with archives() as root:
        refusals.unreachable(host.suite, root.update())
        refusals.unknown(host, root)
        wanted = [str(requirement) for requirement in host.packages]
        result = root.simulate([*PATTERNS, *BASE, *wanted])
        refusals.unresolvable(host, root, result)
        chosen = installed(result.text)
        records = pick(root.records([f"{name}={version}" for name, version in chosen.items()]), chosen)
        lock = Lock(host.suite, architecture, locked(records))
        newest = kernel.newest(root, host.suite)
    kernel.remember(found, newest, lock.suite, archives, log)
    mebibytes = sum(package.size for package in lock.packages) // 1024**2
    log.line(f"{len(lock.packages)} packages, {mebibytes} MiB; lock {lock.digest[:12]}")
    return lock


def installed(simulation: str) -> dict[str, str]:
    """Versions by name, of what a simulated installation would install."""
    return {match[1]: match[2] for line in simulation.splitlines() if (match := _INSTALL.match(line))}


def pick(records: Iterable[Paragraph], chosen: Mapping[str, str]) -> dict[str, Paragraph]:
    """For each chosen package the first record of its version (several archives may have the same)."""
    found: dict[str, Paragraph] = {}
    for record in records:
        name = record["Package"]
        if chosen.get(name) == record["Version"]:
            found.setdefault(name, record)
    return found


def locked(records: Mapping[str, Paragraph]) -> tuple[Locked, ...]:
    """Records as a lock's packages, those of the base marked."""
    base = closure(records)
    plain = (
        Locked(
            name=record["Package"],
            version=record["Version"],
            architecture=record["Architecture"],
            sha256=record["SHA256"],
            size=int(record["Size"]),
            filename=record["Filename"],
        )
        for record in records.values()
    )
    return tuple(sorted(replace(package, base=package.name in base) for package in plain))


def closure(records: Mapping[str, Paragraph]) -> frozenset[str]:
    """The packages that are on every host: essential, required, `BASE`, and all that these need among the records.

    Of alternatives the first that was chosen counts, then whoever provides one: apt may have had a better reason for
    its choice, and then the base is a package too large, never too small.
    """
    providers: dict[str, list[str]] = {}
    for name, record in records.items():
        for group in relations(record.get("Provides", "")):
            providers.setdefault(group[0], []).append(name)
    todo = [
        name
        for name, record in records.items()
        if record.get("Essential") == "yes" or record.get("Priority") == "required" or name in BASE
    ]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        record = records[name]
        for group in relations(f"{record.get('Pre-Depends', '')},{record.get('Depends', '')}"):
            by_name = [other for other in group if other in records]
            todo += by_name[:1] or [who for other in group for who in providers.get(other, ())]
    return frozenset(found)
