"""What the benchmarks share: figures, a bound on time, and a toto of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 40.0
"""How long one benchmark goes on measuring; each ends within a minute."""
AUTHOR = ("-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0")


@dataclass(frozen=True)
class Figure:
    """One figure."""

    bench: str
    what: str
    value: float
    unit: str


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that every user can reach, with git's system-wide settings in it instead of the machine's."""
    folder = Path(tempfile.mkdtemp(prefix="toto-b.", dir="/var/tmp"))
    folder.chmod(0o755)
    os.environ["GIT_CONFIG_SYSTEM"] = str(folder / "gitconfig")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def git(work: Path, *words: str) -> None:
    """A git command in a checkout."""
    subprocess.run(["git", *AUTHOR, *words], cwd=work, check=True, capture_output=True, timeout=60)


def until(began: float, most: int) -> Iterator[int]:
    """Rounds: as many as wanted, or as the time allows."""
    for number in range(most):
        if time.monotonic() - began > SECONDS:
            return
        yield number


def commit(work: Path, name: str, text: str) -> None:
    """One commit that changes one file."""
    path = work / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    git(work, "add", "-A")
    git(work, "commit", "-q", "--allow-empty", "-m", "x")


def fleet_files(work: Path, names: Sequence[str]) -> None:
    """A fleet whose hosts share a role and a file, each with tests of its own."""
    (work / "fleet.toml").write_text(
        '[fleet]\nname = "bench"\n'
        + "".join(f'[hosts.{name}]\nbackend = "debian"\naddress = "{name}.lan"\n' for name in names)
    )
    role = work / "roles" / "base.toml"
    role.parent.mkdir(parents=True)
    role.write_text('packages = ["curl", "jq"]\n[files."/etc/motd"]\nsource = "../files/motd"\n')
    (work / "files").mkdir()
    (work / "files" / "motd").write_text("hello\n" * 100)
    for name in names:
        host = work / "hosts" / f"{name}.toml"
        host.parent.mkdir(exist_ok=True)
        host.write_text(f'suite = "bookworm"\ninclude = ["../roles/base.toml"]\n[files."/etc/{name}"]\ncontent = "x"\n')
        test = work / "host_tests" / name / "smoke" / "a.sh"
        test.parent.mkdir(parents=True)
        test.write_text("#!/bin/sh\necho 1..1\necho ok 1\n")
        test.chmod(0o755)
