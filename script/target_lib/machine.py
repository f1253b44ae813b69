"""One target: its folder, its network namespace, its processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from target_lib import base, forward
from target_lib.base import Fault, run

BOOT_SECONDS = 60.0
INSIDE = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
}


@dataclass(frozen=True)
class Target:
    """What `target.json` in the folder holds."""

    folder: Path
    name: str
    suite: str
    port: int
    http_port: int

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def namespace(self) -> str:
        return "toto-t-" + hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    @property
    def pids(self) -> Path:
        return self.folder / "pids.json"

    @property
    def host_key(self) -> str:
        kind, key = (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
        return f"{kind} {key}"


def find(folder: Path) -> Target:
    """The target of a folder."""
    try:
        said = json.loads((folder / "target.json").read_text())
    except FileNotFoundError:
        raise Fault(f"{folder} holds no target: make one with `script/target make {folder} NAME --port P`") from None
    return Target(folder=folder, **said)


def make(folder: Path, name: str, suite: str, port: int, http_port: int, cache: Path) -> Target:
    """Unpack a target's root filesystem and give it its names and keys."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        raise Fault(f"{name} is no host name")
    if (folder / "target.json").exists():
        raise Fault(f"{folder} holds a target already: `script/target gone {folder}` removes it")
    tar = base.tar(suite, cache)
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    run("tar", "-C", root, "-xf", tar, "--exclude=./dev/*", "--numeric-owner")
    _settle(root, name)
    target = Target(folder=folder, name=name, suite=suite, port=port, http_port=http_port)
    said = {key: value for key, value in asdict(target).items() if key != "folder"}
    (folder / "target.json").write_text(json.dumps(said) + "\n")
    return target


def _settle(root: Path, name: str) -> None:
    for old in (*root.glob("etc/ssh/ssh_host_*"), *root.glob("etc/apt/apt.conf.d/99mmdebstrap")):
        old.unlink()
    # Made for the image's own speed; on a machine it would let a power cut empty what dpkg has just unpacked.
    for conf in root.glob("etc/dpkg/dpkg.cfg.d/*"):
        kept = [line for line in conf.read_text().splitlines() if line.strip() != "force-unsafe-io"]
        conf.write_text("\n".join(kept) + "\n")
    run(
        "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{name}", "-f", root / "etc/ssh/ssh_host_ed25519_key"
    )
    (root / "etc/hostname").write_text(f"{name}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost {name}\n::1 localhost\n")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("")
    (root / "etc/machine-id").write_text("")
    run("systemctl", "-q", f"--root={root}", "enable", "ssh.service")
    run("systemctl", "-q", f"--root={root}", "mask", "systemd-networkd-wait-online.service")


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks: with its id, its name for good (proc(5), field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _alive(target: Target, what: str) -> int | None:
    """Id of the target's process `what` (`console`, `forward`), where it still is the one that was started."""
    try:
        pid, started = json.loads(target.pids.read_text())[what]
    except (OSError, ValueError, KeyError):
        return None
    return int(pid) if _started(pid) == started else None


def _remember(target: Target, **pids: int) -> None:
    known = json.loads(target.pids.read_text()) if target.pids.exists() else {}
    known |= {what: [pid, _started(pid)] for what, pid in pids.items()}
    target.pids.with_suffix(".new").write_text(json.dumps(known))
    target.pids.with_suffix(".new").rename(target.pids)


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def _descendants(pid: int | None) -> list[int]:
    found = _children(pid) if pid else []
    for child in found:
        found += _children(child)
    return found


def leader(target: Target) -> int | None:
    """The target's process 1, as this machine numbers it."""
    waiting = _children(_alive(target, "console") or 0)
    while waiting:
        child = waiting.pop()
        with contextlib.suppress(OSError):
            # The container's own 1 has a second number, in its process namespace.
            if re.search(r"^NSpid:\t\d+\t1$", Path(f"/proc/{child}/status").read_text(), re.M):
                return child
        waiting += _children(child)
    return None


def up(target: Target) -> None:
    """Start the target and wait until its sshd answers through the forwarded port."""
    if leader(target):
        raise Fault(f"{target.name} runs already")
    down(target)
    run("ip", "netns", "add", target.namespace)
    run("ip", "-n", target.namespace, "link", "set", "lo", "up")
    ports = {target.port: 22} | ({target.http_port: 80} if target.http_port else {})
    try:
        carrier = forward.daemon(Path("/run/netns", target.namespace), ports)
    except OSError as error:
        down(target)
        raise Fault(f"port {target.port} or {target.http_port} of 127.0.0.1 cannot be had: {error}") from error
    _remember(target, forward=carrier)
    nspawn = (
        f"systemd-nspawn -q -b -D {shlex.quote(str(target.root))} --machine={target.namespace} --register=no"
        f" --keep-unit --network-namespace-path=/run/netns/{target.namespace}"
    )
    # With --keep-unit a reboot ends nspawn with 133 and leaves starting it again to whoever started it.
    again = f"while {nspawn}; [ $? = 133 ]; do :; done"
    console = subprocess.Popen(
        ["script", "-qefc", again, str(target.folder / "console.log")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _remember(target, console=console.pid)
    _await_ssh(target, console)


def _await_ssh(target: Target, console: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline and console.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", target.port), 2) as link:
            if link.recv(4) == b"SSH-":
                return
        time.sleep(0.05)
    log = target.folder / "console.log"
    told = log.read_text(errors="replace")[-2000:] if log.exists() else "nothing"
    down(target)
    raise Fault(f"{target.name} did not answer SSH within {BOOT_SECONDS:g} s; its console said:\n{told}")


def command(target: Target, words: list[str]) -> list[str]:
    """The command line that runs `words` as root inside; a single word is read by a shell there."""
    if not (pid := leader(target)):
        raise Fault(f"{target.name} does not run: `script/target up {target.folder}` starts it")
    inside = ["sh", "-c", words[0]] if len(words) == 1 else words
    settings = [f"{key}={value}" for key, value in INSIDE.items()]
    spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wdns=/root"]
    return ["nsenter", "--target", str(pid), *spaces, "env", "-i", *settings, *inside]


def down(target: Target, *, gently: bool = True) -> None:
    """End the target and everything that belongs to it; nothing to do is no fault."""
    console, pid = _alive(target, "console"), leader(target)
    if gently and pid and console:
        with contextlib.suppress(Fault, subprocess.TimeoutExpired):
            run(*command(target, ["systemctl", "poweroff"]), timeout=10)
        _gone([console], 20)
    # The console first: else its loop could take the container's end for a reboot.
    ours = [console, *_descendants(console), pid, _alive(target, "forward")]
    _end([pid for pid in ours if pid])
    if Path("/run/netns", target.namespace).exists():
        # Whoever still lives in the namespace is the target's: the namespace has no other use.
        _end([int(pid) for pid in run("ip", "netns", "pids", target.namespace).split()])
        run("ip", "netns", "delete", target.namespace)
    for mounted in reversed(_mounts(target)):
        run("umount", "-l", mounted)
    _forget_groups(target)
    target.pids.unlink(missing_ok=True)


def _end(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _gone(pids, 10)


def _gone(pids: list[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_started(pid) for pid in pids):
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)


def _mounts(target: Target) -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if Path(point).is_relative_to(target.root)]


def _forget_groups(target: Target) -> None:
    """Remove control groups that nspawn left: with --keep-unit it makes them below the caller's own."""
    for made in Path("/sys/fs/cgroup").glob("*/**/" + target.namespace):
        for folder in sorted(made.rglob("*"), reverse=True):
            if folder.is_dir():
                with contextlib.suppress(OSError):
                    folder.rmdir()


def gone(target: Target) -> None:
    """Remove the target altogether."""
    down(target, gently=False)
    shutil.rmtree(target.folder)


def link(target: Target, sign: signal.Signals) -> None:
    """Silence the link (SIGSTOP) or bring it back (SIGCONT)."""
    if not (pid := _alive(target, "forward")):
        raise Fault(f"{target.name} does not run: `script/target up {target.folder}` starts it")
    os.kill(pid, sign)
