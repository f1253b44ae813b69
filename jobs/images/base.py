"""The base image: what every host of a suite has, unpacked and configured once, shared by all that lock the same.

Made by mmdebstrap from a local repository of exactly the locked packages; its digest is its name in the cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

from jobs.images import repository
from jobs.images.metapackage import EPOCH
from jobs.images.unprivileged import Builder, namespace
from server.core.control import render
from server.core.recorder import StageLog
from server.core.releases import ReleaseFiles

RECIPE = 3
"""Raised when the same packages have to become another base."""
HERE = Path(__file__).parent


def key(release: ReleaseFiles) -> str:
    """Digest of a base: the recipe, and exactly its packages."""
    packages = sorted(f"{p.name} {p.version} {p.architecture} {p.sha256}" for p in release.packages if p.base)
    return hashlib.sha256("\n".join([f"recipe {RECIPE} {release.suite}", *packages]).encode()).hexdigest()


def ensure(builder: Builder, release: ReleaseFiles, timeout: float, log: StageLog) -> Path:
    """The base of this release, as a folder in the cache: never written again, only laid under an overlay.

    Raises:
        CommandFailed: mmdebstrap failed.
    """
    digest = key(release)
    folder = builder.folder(builder.config.folder("cache", "bases"))
    goal = folder / digest
    with (folder / f".{digest[:16]}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if goal.is_dir():
            os.utime(goal)
            return goal / "root"
        count = sum(package.base for package in release.packages)
        log.line(f"making the base {digest[:12]} of {count} packages (once for all hosts that lock the same)")
        with builder.scratch("base") as scratch:
            _repository(builder, release, scratch / "repository")
            argv = ["sh", str(HERE / "base.sh"), str(scratch / "root"), str(scratch / "repository"), *_names(release)]
            env = {"SOURCE_DATE_EPOCH": str(EPOCH)}
            builder.run(namespace(argv), timeout=timeout, env=env, on_output=log.write, stop=log.stopped)
            builder.folder(scratch / "base")
            (scratch / "root").rename(scratch / "base" / "root")
            (scratch / "base").rename(goal)
    return goal / "root"


def _names(release: ReleaseFiles) -> list[str]:
    return [package.name for package in release.packages if package.base]


def _repository(builder: Builder, release: ReleaseFiles, folder: Path) -> None:
    """A repository of the base's .debs, hard links to the release's."""
    builder.folder(folder / "debs")
    names = set(_names(release))
    stanzas = {}
    for entry in release.index:
        if entry["Package"] in names:
            file = Path(entry["Filename"]).name
            os.link(release.path / entry["Filename"], folder / "debs" / file)
            stanzas[file] = render(entry)
    index = repository.packages(stanzas)
    repository.write(folder, index, repository.release("base", release.suite, [release.architecture], index, EPOCH))
