"""How a host's real machine is reached: its key pinned, by toto's own key, to an account that starts toto-act alone."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from deploy import signing
from server.core import process
from server.core.config import Config
from server.core.definition import HostEntry
from server.core.errors import TargetTrouble
from server.core.ssh import Ssh

_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/]+=*")


def target(config: Config, entry: HostEntry, host_key: str | None = None) -> Ssh:
    """The way to a host, with its key pinned.

    Raises:
        TargetTrouble: Nobody has pinned its host key yet.
    """
    pinned = host_key or entry.host_key
    if pinned is None or not _KEY.match(pinned):
        raise TargetTrouble(
            "its host key is not known" if pinned is None else f"its host key is malformed: {pinned[:40]}",
            where=f"{entry.name} ({entry.address})",
            mend=f"`toto host enrol {entry.name}` pins it, or put host_key in fleet.toml",
        )
    folder = config.folder("keys", "known_hosts")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = folder / entry.name
    _write(known, f"{entry.name} {' '.join(pinned.split()[:2])}\n")
    return Ssh(
        address=entry.address,
        user=entry.user,
        key=signing.deploy_key(config.folder("keys", "deploy")),
        known_hosts=known,
        alias=entry.name,
        port=entry.port,
        jump=entry.jump,
        connect_timeout=10,
    )


def _write(path: Path, text: str) -> None:
    """Whole or not at all: another deployer may read it now."""
    if path.exists() and path.read_text() == text:
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    Path(name).rename(path)


_CAUSES = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the pinned one",
        "if the machine was made anew, compare the key on its console and run `toto host enrol {name}` again",
    ),
    (
        "Host key verification failed",
        "its host key is not the pinned one",
        "if the machine was made anew, compare the key on its console and run `toto host enrol {name}` again",
    ),
    ("Permission denied", "it refuses toto's key", "run the line of `toto host enrol {name}` on it, as root"),
    ("Connection refused", "nothing listens at {place}", "is sshd running there, and the port right?"),
    ("timed out", "it does not answer at {place}", "is it up, and is the network between?"),
    ("Could not resolve hostname", "the name {address} is not known", "check its address in fleet.toml"),
    ("No route to host", "there is no way to {place}", "is it up, and is the network between?"),
    ("Network is unreachable", "there is no way to {place}", "is this machine's network up?"),
)


def unreachable(ssh: Ssh, stderr: bytes) -> TargetTrouble:
    """The error for ssh's own failure (exit status 255), from what it complained."""
    said = stderr.decode(errors="replace").strip()
    names = {"name": ssh.alias, "address": ssh.address, "place": f"{ssh.address} port {ssh.port}"}
    for sign, what, mend in _CAUSES:
        if sign in said:
            return TargetTrouble(what.format(**names), where=ssh.alias, mend=mend.format(**names))
    last = said.splitlines()[-1] if said else "ssh said nothing"
    return TargetTrouble(
        f"it cannot be reached at {names['place']}: {last}",
        where=ssh.alias,
        mend=f"try `{process.pasteable(ssh.argv('hello'))}`",
    )
