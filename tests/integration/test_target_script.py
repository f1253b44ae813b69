"""script/target: real machines that come, fall silent, end and leave nothing behind."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.targets import SCRIPT, Machine, machine, until

pytestmark = pytest.mark.target


def banner(made: Machine) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", made.port), 1) as link:
            return link.recv(4)
    except OSError:
        return b""


def traces(folder: Path) -> str:
    """What of a target is on this machine: processes, mounts, namespaces."""
    processes = subprocess.run(["ps", "axww", "-o", "args="], capture_output=True, text=True, check=True).stdout
    ours = [line for line in processes.splitlines() if str(folder) in line and "pytest" not in line]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    return "\n".join(ours + mounts)


def test_life_of_a_target(tmp_path: Path) -> None:
    with machine(tmp_path) as made:
        assert made.root("systemctl is-system-running") == "running"
        assert made.root("ip -o link | grep -c .") == "1", "nothing but lo: no way out"
        assert made.root("sh", "-c", "exit 0") == "" and made.root("cat", "/etc/hostname") == "web"
        boot = made.root("cat /proc/sys/kernel/random/boot_id")
        made.do("cut")
        assert banner(made) == b""
        made.do("heal")
        until(lambda: banner(made) == b"SSH-", 10, "the link is back")
        made.root("systemctl reboot")
        until(
            lambda: (
                banner(made) == b"SSH-"
                and made.root("cat /proc/sys/kernel/random/boot_id", check=False) not in ("", boot)
            ),
            60,
            "it is up again",
        )
        made.root("echo kept >/root/file; sync")
        made.do("kill")
        assert not json.loads(made.do("status"))["running"] and traces(tmp_path) == ""
        made.do("up")
        assert made.root("cat /root/file") == "kept"
        made.do("down")
        assert traces(tmp_path) == ""
        made.do("up")
    assert traces(tmp_path) == "" and not made.folder.exists()
    made.do("gone")  # once more is no fault


def test_target_speaks_clearly_when_called_wrongly(tmp_path: Path) -> None:
    def said(*words: str) -> str:
        done = subprocess.run([SCRIPT, *words], capture_output=True, text=True)
        assert done.returncode == 1
        return done.stderr

    assert "holds no target" in said("up", str(tmp_path))
    assert "is no host name" in said("make", str(tmp_path / "x"), "Web;", "--port", "1")
    with machine(tmp_path) as made:
        assert "runs already" in said("up", str(made.folder))
        assert "holds a target already" in said("make", str(made.folder), "web", "--port", "1")
