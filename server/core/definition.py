"""What a fleet's files say, evaluated: frozen values without I/O. `fleet` makes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from server.core.states import Backend

DEBIAN_FORMAT = 1
"""Raised when the same definition has to be built into something else; changes every Debian identity."""


@dataclass(frozen=True)
class HostEntry:
    """One `[hosts.NAME]` of fleet.toml, with `[defaults]` applied.

    Attributes:
        timeouts: Seconds by name (`server.core.config.Limits` fields that are durations), as far as set.
        limits: The other fields of `Limits`, as far as set.
    """

    name: str
    backend: Backend
    address: str
    config: str
    user: str = "toto"
    port: int = 22
    jump: str | None = None
    host_key: str | None = None
    tags: tuple[str, ...] = ()
    wave: int = 1
    timeouts: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True)
class Fleet:
    """A valid fleet.toml.

    Attributes:
        sources: Apt source lines, `{suite}` replaced by the host's suite; empty: the builder's own sources.
    """

    name: str
    hosts: tuple[HostEntry, ...]
    sources: tuple[str, ...] = ()

    def host(self, name: str) -> HostEntry | None:
        """The host of that name."""
        return next((host for host in self.hosts if host.name == name), None)


@dataclass(frozen=True)
class Requirement:
    """A wanted package: `nginx-light`, `curl=7.88.*` (`version` is the pattern after `=`)."""

    name: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name}={self.version}" if self.version else self.name


@dataclass(frozen=True)
class FileEntry:
    """A file that a host's definition puts on it; `path` is absolute there."""

    path: PurePosixPath
    content: bytes
    mode: int = 0o644
    owner: str = "root:root"

    @property
    def digest(self) -> str:
        """SHA-256 of its content."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class DebianHost:
    """The evaluated definition of a Debian host: everything that decides what is built, and nothing else."""

    name: str
    suite: str
    packages: tuple[Requirement, ...]
    files: tuple[FileEntry, ...]
    enable: tuple[str, ...]
    sources: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """SHA-256 of the definition in a canonical form; order and comments of the files do not count."""
        said = {
            "format": DEBIAN_FORMAT,
            "backend": Backend.DEBIAN,
            "name": self.name,
            "suite": self.suite,
            "packages": sorted(map(str, self.packages)),
            "files": sorted([str(file.path), file.digest, file.mode, file.owner] for file in self.files),
            "enable": sorted(self.enable),
            "sources": list(self.sources),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
