"""A lock: exactly the packages of a host. `resolve` makes one for an identity; everywhere else it is a plain value."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from server.core.errors import Trouble

LOCK_FORMAT = 1


@dataclass(frozen=True, order=True)
class Locked:
    """One package of a lock.

    Attributes:
        version: Debian version, with its epoch where it has one.
        architecture: `amd64`, or `all`.
        sha256: Digest of the .deb.
        size: Bytes of the .deb.
        filename: Where an archive has it, relative to the archive's root.
        base: Whether it belongs to what every host has, so that a base image can be made of these alone.
    """

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    filename: str
    base: bool = False

    @property
    def file(self) -> str:
        """Name of its .deb in a flat folder: Debian's own, without the epoch."""
        return f"{self.name}_{self.version.partition(':')[2] or self.version}_{self.architecture}.deb"


@dataclass(frozen=True)
class Lock:
    """The exact packages of an identity, sorted by name."""

    suite: str
    architecture: str
    packages: tuple[Locked, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of what would be installed. Where an archive keeps a file, and what counts as base, is not in it."""
        said = {
            "format": LOCK_FORMAT,
            "suite": self.suite,
            "architecture": self.architecture,
            "packages": sorted([p.name, p.version, p.architecture, p.sha256] for p in self.packages),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def base(self) -> tuple[Locked, ...]:
        """The packages that every host has."""
        return tuple(package for package in self.packages if package.base)

    def to_json(self) -> str:
        """As JSON text, the same for the same lock."""
        said = {
            "format": LOCK_FORMAT,
            "suite": self.suite,
            "architecture": self.architecture,
            "packages": [asdict(package) for package in sorted(self.packages)],
        }
        return json.dumps(said, sort_keys=True, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Lock:
        """The lock of `to_json`'s text.

        Raises:
            Trouble: It is no lock, or of a format that this toto does not know.
        """
        mend = "make a new one: toto update HOST"
        try:
            said: dict[str, Any] = json.loads(text)
            if said["format"] != LOCK_FORMAT:
                raise Trouble(f"a lock of format {said['format']}; this toto knows {LOCK_FORMAT}", mend=mend)
            packages = tuple(sorted(Locked(**package) for package in said["packages"]))
            return cls(str(said["suite"]), str(said["architecture"]), packages)
        except (KeyError, TypeError, ValueError) as error:
            raise Trouble(f"this is no lock: {error}", mend=mend) from error
