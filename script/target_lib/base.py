"""The root filesystem of targets: made once for a suite by mmdebstrap, kept as a tar file."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

PACKAGES = (
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "iproute2",
    "ca-certificates",
    "procps",
    "udev",
    "kmod",
    "gpgv",
)
CACHE = Path("/var/cache/toto-targets")


class Fault(Exception):
    """Something that the caller has to mend; the text says it all."""


def run(*argv: str | Path, **options: object) -> str:
    """Run a command; its output, or a `Fault` that shows the end of it."""
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        **options,
    )
    if done.returncode != 0:
        told = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise Fault(f"`{' '.join(map(str, argv))}` ended with {done.returncode}\n{told}")
    return str(done.stdout)


def codename() -> str:
    """This machine's own Debian suite."""
    said = Path("/etc/os-release").read_text()
    if not (match := re.search(r"^VERSION_CODENAME=(\w+)", said, re.M)):
        raise Fault("/etc/os-release names no VERSION_CODENAME: targets are made on Debian")
    return match[1]


def _stanzas(text: str) -> list[dict[str, str]]:
    """The stanzas of a deb822 file; continuation lines folded, comments gone (sources.list(5))."""
    stanzas: list[dict[str, str]] = [{}]
    key = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            stanzas.append({})
        elif line[0] in " \t":
            stanzas[-1][key] += "\n" + line
        else:
            key, _, value = line.partition(":")
            stanzas[-1][key := key.strip().lower()] = value.strip()
    return [stanza for stanza in stanzas if stanza]


def _one_line(stanza: dict[str, str]) -> list[str]:
    if stanza.get("enabled", "yes").lower() == "no" or "deb" not in stanza.get("types", "deb").split():
        return []
    signed = stanza.get("signed-by", "")
    options = f"[signed-by={signed}] " if signed.startswith("/") else ""
    return [
        f"deb {options}{uri} {suite} {' '.join(stanza.get('components', 'main').split())}"
        for uri in stanza.get("uris", "").split()
        for suite in stanza.get("suites", "").split()
    ]


def sources(suite: str) -> list[str]:
    """This machine's own apt sources of Debian, as one-line entries, with its codename replaced by `suite`."""
    here = codename()
    lines: list[str] = []
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        if path.suffix == ".sources":
            lines += [line for stanza in _stanzas(path.read_text()) for line in _one_line(stanza)]
        elif path.is_file() and path.suffix == ".list":
            lines += [line.strip() for line in path.read_text().splitlines() if line.startswith("deb ")]
    wanted = re.compile(rf"(?<=\s){re.escape(here)}(-updates|-security|/updates)?(?=\s)")
    found = [wanted.sub(lambda match: suite + (match[1] or ""), line) for line in lines if wanted.search(line)]
    if not found:
        raise Fault(f"no apt source of this machine names {here}: targets are made from the machine's own sources")
    return found


def tar(suite: str, cache: Path = CACHE) -> Path:
    """The base of a suite, made where it is missing."""
    lines = sources(suite)
    key = hashlib.sha256("\n".join([suite, *PACKAGES, *lines]).encode()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / f"{suite}-{key}.tar"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _make(suite, lines, made)
    return made


def _make(suite: str, lines: list[str], made: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise Fault("mmdebstrap is not installed: `apt-get install mmdebstrap`")
    with tempfile.TemporaryDirectory(prefix="toto-target-", dir=made.parent) as scratch:
        listing, settings = Path(scratch, "sources.list"), Path(scratch, "apt.conf")
        listing.write_text("\n".join(lines) + "\n")
        # How this machine reaches its mirror (a proxy, say) is part of its own apt configuration.
        settings.write_text(
            "".join(line + "\n" for line in run("apt-config", "dump").splitlines() if line.startswith("Acquire::"))
        )
        new = Path(scratch, "base.tar")
        run(
            "mmdebstrap",
            "--mode=root",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            "--dpkgopt=force-unsafe-io",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            f"--aptopt={settings}",
            suite,
            new,
            listing,
            env={**os.environ, "TMPDIR": scratch, "LC_ALL": "C.UTF-8"},
        )
        new.rename(made)
