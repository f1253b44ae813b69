"""Releases on disk: what a build made, by its id, and nothing that a build did not make.

A release is a folder `releases/ID`: `release.json` (what it is), `Packages` and `Release` (an apt index and its digest,
not yet signed: builders hold no keys) and `debs/` (exactly the locked packages, and `toto-host-NAME`). It
never changes: the id is a digest of what decides its content, and opening it verifies each file against the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from server.core.config import Config
from server.core.control import Paragraph, paragraphs
from server.core.errors import Trouble

REBUILD = "build it again: toto rebuild HOST"


@dataclass(frozen=True)
class ReleasePackage:
    """One package of a release: `file` is its .deb's name in `debs/`."""

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    file: str
    base: bool = False


@dataclass(frozen=True)
class ReleaseFiles:
    """One release's folder.

    Attributes:
        path: The folder.
    """

    path: Path

    @cached_property
    def said(self) -> dict[str, Any]:
        """release.json.

        Raises:
            Trouble: It is missing or damaged.
        """
        try:
            found: dict[str, Any] = json.loads((self.path / "release.json").read_bytes())
        except (OSError, ValueError) as error:
            raise Trouble(f"the release cannot be read: {error}", where=str(self.path), mend=REBUILD) from error
        return found

    @property
    def id(self) -> str:
        """Digest of the identity, the lock, and the form of the host's own package."""
        return str(self.said["id"])

    @property
    def host(self) -> str:
        """The host it is for."""
        return str(self.said["host"])

    @property
    def backend(self) -> str:
        """`debian`."""
        return str(self.said["backend"])

    @property
    def identity(self) -> str:
        """Identity of the definition it was built from."""
        return str(self.said["identity"])

    @property
    def lock(self) -> str:
        """Digest of the lock it was built from."""
        return str(self.said["lock"])

    @property
    def commit(self) -> str:
        """The commit that it was first built for."""
        return str(self.said["commit"])

    @property
    def suite(self) -> str:
        """The host's Debian suite."""
        return str(self.said["suite"])

    @property
    def architecture(self) -> str:
        """Debian's name of the host's architecture."""
        return str(self.said["architecture"])

    @property
    def version(self) -> str:
        """Version of its `toto-host-NAME`."""
        return str(self.said["version"])

    @property
    def host_package(self) -> str:
        """Name of the package that is the host."""
        return f"toto-host-{self.host}"

    @property
    def origin(self) -> str:
        """The repository's Origin, for apt's pin on this release."""
        return f"toto-{self.id[:12]}"

    @cached_property
    def packages(self) -> tuple[ReleasePackage, ...]:
        """The locked packages, without `toto-host-NAME`."""
        return tuple(ReleasePackage(**package) for package in self.said["packages"])

    @property
    def debs(self) -> tuple[Path, ...]:
        """All .debs of its index, `toto-host-NAME` among them."""
        return tuple(self.path / entry["Filename"] for entry in self.index)

    @cached_property
    def index(self) -> tuple[Paragraph, ...]:
        """The paragraphs of Packages."""
        return tuple(paragraphs((self.path / "Packages").read_text()))

    def verify(self) -> None:
        """Compare Packages with Release, every .deb with Packages, and the folder with what may be in it.

        Raises:
            Trouble: Something is missing, damaged or too much; says which file.
        """
        try:
            self._verify()
        except OSError as error:
            raise Trouble(f"the release cannot be read: {error}", where=str(self.path), mend=REBUILD) from error

    def _verify(self) -> None:
        match = re.search(r"^ ([0-9a-f]{64}) (\d+) Packages$", (self.path / "Release").read_text(), re.MULTILINE)
        if match is None or match[1] != sha256_of(self.path / "Packages"):
            raise Trouble("Packages is not what Release says", where=str(self.path), mend=REBUILD)
        for entry in self.index:
            file = self.path / entry["Filename"]
            if file.stat().st_size != int(entry["Size"]) or sha256_of(file) != entry["SHA256"]:
                raise Trouble(f"{entry['Filename']} is damaged", where=str(self.path), mend=REBUILD)
        listed = {(entry["Package"], entry["SHA256"]) for entry in self.index if entry["Package"] != self.host_package}
        if listed != {(package.name, package.sha256) for package in self.packages}:
            raise Trouble("Packages does not list what release.json says", where=str(self.path), mend=REBUILD)


def open(config: Config, release: str) -> ReleaseFiles:  # noqa: A001 - read as releases.open
    """The release with that id, verified.

    Raises:
        Trouble: There is none, or it is damaged.
    """
    if not re.fullmatch(r"[0-9a-f]{12,64}", release):
        raise Trouble(f'"{release}" is no release id')
    files = ReleaseFiles(config.folder("releases", release))
    if not files.path.is_dir():
        raise Trouble(f"there is no release {release[:12]}", where=str(files.path), mend=REBUILD)
    files.verify()
    if files.id != release:
        raise Trouble(f"the folder holds another release: {files.id[:12]}", where=str(files.path), mend=REBUILD)
    return files


def put(config: Config, folder: Path) -> ReleaseFiles:
    """Take a finished folder in under its id; where the same release is there already and whole, that one stays.

    `folder` is on the same file system (below the data folder's `tmp`), and is gone afterwards.

    Raises:
        Trouble: The folder is no whole release.
    """
    fresh = ReleaseFiles(folder)
    fresh.verify()
    goal = config.folder("releases", fresh.id)
    goal.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(Trouble):
        kept = open(config, fresh.id)
        shutil.rmtree(folder)
        return kept
    with _aside(goal), contextlib.suppress(FileExistsError):
        folder.rename(goal)
    return open(config, fresh.id)


@contextlib.contextmanager
def _aside(goal: Path) -> Iterator[None]:
    """Move a damaged release out of the way for the block, and remove it then."""
    aside = goal.with_name(f".{goal.name}.damaged-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        goal.rename(aside)
    try:
        yield
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
