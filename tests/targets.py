"""Helpers for tests that change a real target: the target itself, and tiny releases made by dpkg-deb alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from deploy import enrol
from server.core.config import Config
from server.core.definition import HostEntry
from server.core.model import CheckRow
from server.core.states import Backend, StageName

SCRIPT = Path(__file__).parent.parent / "script" / "target"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


@dataclass
class Machine:
    """A running nspawn target."""

    folder: Path
    name: str
    port: int
    http_port: int

    def do(self, verb: str, *words: str, check: bool = True) -> str:
        done = subprocess.run([SCRIPT, verb, self.folder, *words], capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, f"{verb} {words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def root(self, *words: str, check: bool = True) -> str:
        """Run a command inside as root, past SSH."""
        return self.do("root", *words, check=check)

    @property
    def host_key(self) -> str:
        return str(json.loads(self.do("status"))["host_key"])

    @property
    def entry(self) -> HostEntry:
        return HostEntry(
            name=self.name,
            backend=Backend.DEBIAN,
            address="127.0.0.1",
            config=f"hosts/{self.name}.toml",
            port=self.port,
            host_key=self.host_key,
        )

    def enrol(self, config: Config) -> str:
        """Run the line of `toto host enrol` on it."""
        return self.root("sh", "-c", enrol.enrol_script(config, self.entry))


@contextlib.contextmanager
def machine(folder: Path, name: str = "web") -> Iterator[Machine]:
    """A fresh target, gone afterwards."""
    made = Machine(folder / name, name, free_port(), free_port())
    made.do("make", name, "--port", str(made.port), "--http-port", str(made.http_port))
    try:
        made.do("up")
        yield made
    finally:
        made.do("gone")


@dataclass
class Log:
    """A StageLog that keeps what it is told."""

    stage: StageName = StageName.TEST
    lines: list[str] = field(default_factory=list)
    written: bytes = b""
    checks: list[CheckRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def write(self, data: bytes) -> None:
        self.written += data

    def check(self, row: CheckRow) -> None:
        self.checks.append(row)

    def note(self, reason: str) -> None:
        self.notes.append(reason)

    def stopped(self) -> bool:
        return False


@dataclass(frozen=True)
class TinyRelease:
    id: str
    path: Path


class Builder:
    """Makes .debs and releases of `toto-host-web` by hand."""

    def __init__(self, folder: Path, host: str = "web") -> None:
        self.folder = folder
        self.host = host
        self.number = 0
        self.debs = folder / "debs"
        self.debs.mkdir(parents=True, exist_ok=True)

    def deb(
        self,
        name: str,
        version: str,
        *,
        postinst: str = "",
        extra: str = "",
        files: dict[str, str] | None = None,
        scripts: dict[str, str] | None = None,
        conffile: bool = True,
    ) -> Path:
        made = self.debs / f"{name}_{version}_all.deb"
        root = self.folder / "root" / f"{name}-{version}"
        (root / "DEBIAN").mkdir(parents=True)
        given = {f"usr/share/{name}/version": f"{version}\n", **(files or {})}
        if conffile and files is None:
            given[f"etc/{name}.conf"] = f"default of {name} {version}\n"
            (root / "DEBIAN/conffiles").write_text(f"/etc/{name}.conf\n")
        sums = ""
        for path, content in given.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)
            sums += f"{hashlib.md5(content.encode()).hexdigest()}  {path}\n"
        (root / "DEBIAN/md5sums").write_text(sums)
        (root / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@example.org>\n"
            f"{'' if 'Installed-Size' in extra else 'Installed-Size: 8' + chr(10)}{extra}Description: tiny\n"
        )
        for script, body in {"postinst": postinst, **(scripts or {})}.items():
            (root / "DEBIAN" / script).write_text(f"#!/bin/sh\nset -e\n{body}\n")
            (root / "DEBIAN" / script).chmod(0o755)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", root, made], check=True, capture_output=True)
        return made

    def package(self, name: str, version: str, *, postinst: str = "", extra: str = "") -> Path:
        made = self.debs / f"{name}_{version}_all.deb"
        return made if made.exists() else self.deb(name, version, postinst=postinst, extra=extra)

    def release(
        self,
        *packages: Path,
        files: dict[str, str] | None = None,
        postinst: str = "",
        units: str = "",
        predepends: str = "",
    ) -> TinyRelease:
        """A release: a metapackage that pins `packages` and brings `files`."""
        self.number += 1
        version = f"{self.number}"
        host = f"toto-host-{self.host}"
        brought = {"etc/toto-site.conf": f"release {version}\n", **(files or {})}
        sums = "".join(
            f"{hashlib.sha256(text.encode()).hexdigest()}  /{path}\n" for path, text in sorted(brought.items())
        )
        rights = "".join(f"0644 root:root /{path}\n" for path in sorted(brought))
        pins = ", ".join(
            subprocess.run(
                ["dpkg-deb", "-W", "--showformat", "${Package} (= ${Version})", deb],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            for deb in packages
        )
        restart = f"""[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
for u in $(echo {units} $(cat /run/toto-restart 2>/dev/null) | tr ' ' '\\n' | sort -u); do
  systemctl reset-failed $u 2>/dev/null || :; systemctl restart $u || echo "toto: $u failed to restart"; done
rm -f /run/toto-restart"""
        meta = self.deb(
            host,
            version,
            postinst=f"{postinst}\n{restart}",
            scripts={
                "prerm": f'echo "{units}" >>/run/toto-restart',
                "postrm": "case $1 in remove) for u in $(cat /run/toto-restart); "
                "do systemctl try-restart $u || :; done; rm -f /run/toto-restart;; esac",
            },
            extra=f"Protected: yes\nPre-Depends: {', '.join(filter(None, [predepends, pins]))}\n"
            if pins or predepends
            else "Protected: yes\n",
            files={**brought, "usr/share/toto/files.sha256": sums, "usr/share/toto/files.rights": rights},
        )
        return self.repository([meta, *packages])

    def repository(self, debs: list[Path]) -> TinyRelease:
        """A release folder of these .debs; its id is the digest of its index."""
        scratch = self.folder / f"release-{self.number}"
        (scratch / "debs").mkdir(parents=True)
        packages = ""
        for deb in debs:
            (scratch / "debs" / deb.name).hardlink_to(deb)
            control = subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True).stdout
            digest = hashlib.sha256(deb.read_bytes()).hexdigest()
            packages += f"{control}Filename: debs/{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n\n"
        (scratch / "Packages").write_text(packages)
        release_id = hashlib.sha256(packages.encode()).hexdigest()
        (scratch / "Release").write_text(
            f"Origin: toto-{release_id[:12]}\nLabel: toto\nSuite: toto\nCodename: toto\n"
            f"Date: {formatdate(usegmt=True)}\n"
            f"Architectures: amd64 all\nAcquire-By-Hash: no\nSHA256:\n"
            f" {hashlib.sha256(packages.encode()).hexdigest()} {len(packages.encode())} Packages\n"
        )
        return TinyRelease(release_id, scratch)
