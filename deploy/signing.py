"""The release key: what targets believe. Manifests and orders are signed by OpenSSH, a release's index by OpenPGP.

Both verify with what a Debian machine has: `ssh-keygen -Y verify` and apt's own gpgv (Debian 12) or sqv (Debian 13).
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.core import process
from server.core.errors import Trouble

MANIFEST = "toto-manifest"
ORDER = "toto-order"
SIGNER = "toto"


@dataclass(frozen=True)
class ReleaseKeys:
    """The folder that holds them; only its owner reads it."""

    folder: Path

    @property
    def ssh(self) -> Path:
        """Private OpenSSH key for manifests and orders."""
        return self.folder / "manifest_ed25519"

    @property
    def openpgp(self) -> Path:
        """Private OpenPGP key for InRelease."""
        return self.folder / "openpgp.key"

    @property
    def allowed_signers(self) -> str:
        """The target's /etc/toto/allowed_signers (ssh-keygen(1), ALLOWED SIGNERS)."""
        kind, key = self.ssh.with_suffix(".pub").read_text().split()[:2]
        return f'{SIGNER} namespaces="{MANIFEST},{ORDER}" {kind} {key}\n'

    @property
    def certificate(self) -> bytes:
        """The target's /etc/toto/release.gpg: the public half, binary."""
        return self.openpgp.with_suffix(".gpg").read_bytes()


def keys(folder: Path) -> ReleaseKeys:
    """The release keys of a folder (`config.folder("keys", "release")`), made where they are missing.

    Raises:
        Trouble: They cannot be written or read.
    """
    made = ReleaseKeys(folder)
    _once(folder, made.openpgp.with_suffix(".gpg"), lambda: _make(made))
    return made


def ephemeral_keys(folder: Path) -> ReleaseKeys:
    """Keys of a rehearsal, in a folder that goes with it: the real ones never enter a VM's neighbourhood."""
    return keys(folder)


def deploy_key(folder: Path) -> Path:
    """The deployer's SSH key (`config.folder("keys", "deploy")`), made where it is missing, with its public half."""
    key = folder / "id_ed25519"
    _once(folder, key.with_suffix(".pub"), lambda: _ssh_key(key, "toto deployer"))
    return key


def _once(folder: Path, last: Path, make: Callable[[], None]) -> None:
    """Make a key once, whoever asks at the same time."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if last.exists():
            return
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not last.exists():
                make()
    except OSError as error:
        raise Trouble(
            f"the keys cannot be made: {error}", where=str(folder), mend="check who owns the folder"
        ) from error


def _ssh_key(path: Path, comment: str) -> None:
    new = path.with_name(f"new-{path.name}")
    for old in (new, new.with_name(f"{new.name}.pub")):
        old.unlink(missing_ok=True)
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(new)], timeout=30)
    new.rename(path)
    new.with_name(f"{new.name}.pub").rename(path.with_suffix(".pub"))


def _make(made: ReleaseKeys) -> None:
    import pysequoia

    _ssh_key(made.ssh, "toto release")
    secret = pysequoia.Tsk.generate(user_id="toto release key", profile=pysequoia.Profile.RFC4880)
    _write(made.openpgp, str(secret).encode(), 0o600)
    _write(made.openpgp.with_suffix(".gpg"), bytes(secret.extract_certificate()), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    Path(name).chmod(mode)
    Path(name).rename(path)


def sign_text(keys: ReleaseKeys, text: str, namespace: str) -> str:
    """The text with its OpenSSH signature appended: what toto-act reads from its standard input."""
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(keys.ssh), "-n", namespace]
    return text + process.run(argv, timeout=30, data=text.encode()).stdout.decode()


def sign_index(keys: ReleaseKeys, release: bytes) -> bytes:
    """InRelease of a Release file: the same text in a cleartext signature that gpgv 2.2 and sqv accept."""
    import pysequoia

    signer = pysequoia.Tsk.from_file(str(keys.openpgp)).signer()
    return pysequoia.sign(signer, release, mode=pysequoia.SignatureMode.CLEAR)


def next_sequence(keys: ReleaseKeys) -> int:
    """A number above all that were given before: milliseconds of the clock, or one more than the last."""
    with (keys.folder / "sequence").open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        last = int(handle.read().strip() or 0)
        number = max(last + 1, time.time_ns() // 1_000_000)
        handle.seek(0)
        handle.truncate()
        handle.write(f"{number}\n")
        handle.flush()
        os.fsync(handle.fileno())
    return number
