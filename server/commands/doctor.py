"""`toto doctor`: what this machine can do and lacks, and how to get it. What can be tried is tried."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.markup import escape

from jobs.acceleration import acceleration
from server.commands import render
from server.core import privileges, process
from server.core.config import Config
from server.core.errors import ToolMissing, TotoError
from server.core.queue import Queue
from server.up import REDIS_SERVERS, whoami

GIB = 1024**3
ROOM = 10 * GIB
"""Bytes that a small fleet's images and releases want."""

TOOLS = {
    "git": ("git", "repositories"),
    "mmdebstrap": ("mmdebstrap", "images of Debian hosts"),
    "apt-get": ("apt", "locks of Debian hosts"),
    "dpkg-deb": ("dpkg", "packages of Debian hosts"),
    "mke2fs": ("e2fsprogs", "disks"),
    "newuidmap": ("uidmap", "building without root"),
    "qemu-system-x86_64": ("qemu-system-x86", "the rehearsal's machine"),
    "qemu-img": ("qemu-utils", "its disks"),
    "bwrap": ("bubblewrap", "its sandbox"),
    "socat": ("socat", "its control channel"),
    "passt": ("passt", "its way out"),
    "ssh": ("openssh-client", "reaching machines"),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: What it is.
        ok: Whether it is as toto wants it; None for a mere remark.
        found: What was found.
        mend: How to get it.
    """

    what: str
    ok: bool | None
    found: str
    mend: str = ""


def doctor(config: Config, arguments: argparse.Namespace) -> int:
    """`toto doctor`: exit code 0 where nothing is lacking, 1 where something is."""
    findings = [finding for look in (_tools, _redis, _users, _acceleration, _room) for finding in look(config)]
    if arguments.json:
        render.print_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    return 1 if any(finding.ok is False for finding in findings) else 0


def _show(findings: list[Finding]) -> None:
    made = render.table("", "", "")
    made.show_header = False
    marks = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]·[/]"}
    for finding in findings:
        text = escape(finding.found) + (f"\n[dim]{escape(finding.mend)}[/]" if finding.mend else "")
        made.add_row(marks[finding.ok], finding.what, text)
    render.console.print(made)
    lacking = sum(finding.ok is False for finding in findings)
    render.console.print("nothing is lacking" if not lacking else f"{lacking} lacking")


def _tools(_config: Config) -> list[Finding]:
    found = []
    for name, (package, purpose) in TOOLS.items():
        try:
            found.append(Finding(name, True, f"{process.tool(name)}: {purpose}"))
        except ToolMissing:
            found.append(Finding(name, False, f"missing: {purpose}", f"apt-get install {package}"))
    return found


def _redis(config: Config) -> list[Finding]:
    if Queue(config).ping():
        return [Finding("Redis", True, f"answers at {config.redis_url}")]
    if config.redis:
        return [Finding("Redis", False, f"does not answer at {config.redis}", "start it, or unset `redis` for our own")]
    for name in REDIS_SERVERS:
        if path := shutil.which(name, path=process.PATH):
            return [Finding("Redis", True, f"{path}; `toto up` starts it on a private socket")]
    return [
        Finding("Redis", False, "neither redis-server nor valkey-server is installed", "apt-get install redis-server")
    ]


def _users(_config: Config) -> list[Finding]:
    root = os.geteuid() == 0
    name = privileges.BUILDER if root else whoami()
    if root and not privileges.exists(name):
        return [Finding("users", None, "toto and toto-deploy are made by the first `toto up`")]
    has = all(_listed(Path("/etc") / file, name) for file in ("subuid", "subgid"))
    mend = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
    said = f"{name} has subordinate ids" if has else f"{name} has no subordinate ids, and cannot build images"
    return [Finding("subordinate ids", has, said, "" if has else mend)]


def _listed(file: Path, name: str) -> bool:
    return file.exists() and any(line.startswith(f"{name}:") for line in file.read_text().splitlines())


def _acceleration(config: Config) -> list[Finding]:
    privileges.prepare(config)
    return _tried("acceleration", lambda: _accelerated(config))


def _accelerated(config: Config) -> Finding:
    found = acceleration(config)
    if found.kind == "kvm":
        return Finding("acceleration", True, "KVM works: a guest booted with it")
    return Finding("acceleration", None, f"software emulation ({found.reason}): a rehearsal boots in about 20 s")


def _tried(what: str, look: Callable[[], Finding]) -> list[Finding]:
    try:
        return [look()]
    except TotoError as error:
        return [Finding(what, False, error.what, error.mend)]


def _room(config: Config) -> list[Finding]:
    free = shutil.disk_usage(config.data if config.data.exists() else config.data.parent).free
    said = f"{free / GIB:.0f} GiB free at {config.data}"
    return [Finding("disk", free > ROOM, said, "" if free > ROOM else f"{ROOM / GIB:.0f} GiB let a small fleet live")]
