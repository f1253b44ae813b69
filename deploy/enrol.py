"""`toto host enrol NAME`: one line to run on a target as root, and the pinning of its host key.

The line carries all that it puts there; the target needs no network for it, only OpenSSH, sudo and dpkg.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from deploy import signing
from deploy.signing import ReleaseKeys
from server.core import process
from server.core.config import Config
from server.core.definition import HostEntry
from server.core.errors import TargetTrouble

HERE = Path(__file__).parent
RESTRICTED = 'restrict,command="set -f; exec sudo -n /usr/local/sbin/toto-act $SSH_ORIGINAL_COMMAND"'
"""The key starts toto-act and nothing else (sshd(8), AUTHORIZED_KEYS); `set -f`: no word becomes a file's name."""
VERBS = (
    "hello", "drift", "gc", "(want|receive|tests|start|state|confirm|undo|log) [a-z0-9-]{1\\,64}",
    "log [a-z0-9-]{1\\,64} [0-9]{1\\,16}", "preflight [a-z0-9-]{1\\,64} [a-z0-9-]{1\\,64}",
    "run-tests [a-z0-9-]{1\\,64} [a-z0-9-]{1\\,64} [a-z0-9-]{1\\,64} [0-9]{1\\,16}",
)  # fmt: skip


@dataclass(frozen=True)
class HostKey:
    """A machine's public SSH key, as fleet.toml holds it, and its fingerprint as people compare it."""

    key: str
    fingerprint: str


def sudoers(user: str) -> str:
    """What the account may do: toto-act with these arguments, regular expressions (sudoers(5); sudo 1.9.10 on)."""
    commands = ", ".join(f"/usr/local/sbin/toto-act ^{verb}$" for verb in VERBS)
    return f"Defaults:{user} !requiretty, !use_pty, !lecture\n{user} ALL=(root) NOPASSWD: {commands}\n"


def _archive(keys: ReleaseKeys, host: str, user: str | None) -> bytes:
    files = {
        "usr/local/sbin/toto-act": ((HERE / "toto-act").read_bytes(), 0o755),
        "etc/systemd/system/toto-boot.service": ((HERE / "toto-boot.service").read_bytes(), 0o644),
        "etc/toto/host": (f"{host}\n".encode(), 0o644),
        "etc/toto/allowed_signers": (keys.allowed_signers.encode(), 0o644),
        "etc/toto/release.gpg": (keys.certificate, 0o644),
    }
    if user is not None:
        files["etc/sudoers.d/.toto.new"] = (sudoers(user).encode(), 0o440)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, (content, mode) in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode, member.uname, member.gname = len(content), mode, "root", "root"
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


_NEEDS = """set -eu
[ "$(id -u)" = 0 ] || {{ echo 'run this as root' >&2; exit 1; }}
for p in {tools}; do
  command -v $p >/dev/null || {{ echo "$p is missing here: apt-get install sudo openssh-server systemd" >&2; exit 1; }}
done
"""
_UNPACK = """mkdir -p /var/lib/toto /etc/toto; chmod 755 /var/lib/toto
echo {archive} | base64 -d | tar -x -C / --no-same-owner --no-overwrite-dir
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
systemctl -q enable toto-boot.service
"""
_ACCOUNT = """id {user} >/dev/null 2>&1 ||
  useradd --system --create-home --home-dir /var/lib/toto-home --shell /bin/sh {user}
h=$(getent passwd {user} | cut -d: -f6)
chown root:root /etc/sudoers.d/.toto.new; chmod 440 /etc/sudoers.d/.toto.new
visudo -q -c -f /etc/sudoers.d/.toto.new
mv /etc/sudoers.d/.toto.new /etc/sudoers.d/toto
install -d -m 700 -o {user} -g "$(id -gn {user})" "$h/.ssh"
printf '%s\\n' {authorized} >"$h/.ssh/authorized_keys"
chown {user} "$h/.ssh/authorized_keys"; chmod 600 "$h/.ssh/authorized_keys"
echo "toto: {host} is enrolled; its host key is:"
ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub
"""
_TOOLS = ("ssh-keygen", "systemd-run", "dpkg", "flock", "base64")


def install_script(keys: ReleaseKeys, host: str) -> str:
    """What puts toto-act and these keys on a machine whose root is at hand already: a rehearsal's VM."""
    return _NEEDS.format(tools=" ".join(_TOOLS)) + _UNPACK.format(archive=_encoded(_archive(keys, host, None)))


def plain_script(keys: ReleaseKeys, host: str, user: str, deploy_public: str) -> str:
    """The enrolment as a readable sh script, to be run as root."""
    kind, key = deploy_public.split()[:2]
    needs = _NEEDS.format(tools=" ".join(("sudo", *_TOOLS)))
    unpack = _UNPACK.format(archive=_encoded(_archive(keys, host, user)))
    account = _ACCOUNT.format(host=host, user=user, authorized=_quoted(f"{RESTRICTED} {kind} {key} toto"))
    return needs + unpack + account


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def enrol_script(config: Config, host_entry: HostEntry) -> str:
    """The one line that a person runs on the target as root; running it again is no fault.

    Raises:
        Trouble: toto's keys cannot be made.
    """
    keys = signing.keys(config.folder("keys", "release"))
    public = signing.deploy_key(config.folder("keys", "deploy")).with_suffix(".pub").read_text()
    script = plain_script(keys, host_entry.name, host_entry.user, public)
    encoded = base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()
    return f"echo {encoded} | base64 -d | gzip -d | sh"


def pin(config: Config, host: HostEntry) -> HostKey:
    """Ask a machine for its ed25519 host key (trust on first use: a person compares the fingerprint on its console).

    Raises:
        TargetTrouble: It does not answer, or has no such key.
    """
    del config
    argv = ["ssh-keyscan", "-T", "10", "-t", "ed25519", "-p", str(host.port), "--", host.address]
    result = process.run(argv, timeout=30, check=False)
    match = re.search(r"^\S+ (ssh-ed25519) ([A-Za-z0-9+/=]+)$", result.text, re.M)
    if match is None:
        raise TargetTrouble("it shows no ed25519 host key", where=f"{host.name} ({host.address} port {host.port})",
                            mend="is it up, and does its sshd listen there?")  # fmt: skip
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(match[2])).digest()).decode().rstrip("=")
    return HostKey(f"{match[1]} {match[2]}", f"SHA256:{digest}")
