"""The list by which pre-receive's first half knows the files of a description: a repository's `toto/described`.

It holds the paths of all branches ever checked, one on a line, and only grows; so a push that touches none of them
leaves every description as it was. Where a path cannot stand on a line, or there are too many, a folder stands in.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

ALWAYS = ("fleet.toml", "hosts", "host_tests", "tests", "flake.nix")
"""What belongs to a description wherever it is; a folder stands for all that is in it."""
MOST = 100
"""Lines at the most: the shell reads them byte by byte, in about 20 µs a line."""
EVERYTHING = "."


def listed(repo_path: Path) -> tuple[str, ...]:
    """The list as it is; empty where there is none yet."""
    try:
        return tuple(_file(repo_path).read_text().splitlines())
    except FileNotFoundError:
        return ()


def add(repo_path: Path, paths: Iterable[str]) -> None:
    """Add paths to the list. Two pushes at once both get theirs in.

    Raises:
        OSError: The repository cannot be written.
    """
    file = _file(repo_path)
    file.parent.mkdir(exist_ok=True)
    lock = os.open(file.with_name("described.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = listed(repo_path)
        after = compact({*ALWAYS, *before, *paths})
        if after != before:
            making = file.with_name(f"described.{os.getpid()}")
            making.write_text("".join(f"{path}\n" for path in after))
            making.chmod(0o664)
            making.replace(file)
    finally:
        os.close(lock)


def compact(paths: Iterable[str]) -> tuple[str, ...]:
    """The same paths or folders around them: none below another, each fit for a line, not too many."""
    found = {_fit(path) for path in paths}
    if EVERYTHING in found:
        return (EVERYTHING,)
    found = {path for path in found if not any(str(above) in found for above in Path(path).parents)}
    if len(found) > MOST:
        found = {path.partition("/")[0] for path in found}
    return tuple(sorted(found)) if len(found) <= MOST else (EVERYTHING,)


def _fit(path: str) -> str:
    """The path, or the nearest folder around it that can stand on a line of plain text."""
    parts = path.split("/")
    while parts and not all(part.isprintable() and part.isascii() for part in parts):
        parts.pop()
    return "/".join(parts) or EVERYTHING


def _file(repo_path: Path) -> Path:
    return repo_path / "toto" / "described"
