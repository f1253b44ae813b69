"""One booted VM, tried from all sides; the last tests end it."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jobs.machine import BootFailed, Machine
from jobs.passt import ADDRESS, GATEWAY, RESOLVER
from jobs.passt_filter import own_addresses
from server.core import process
from server.core.config import Limits
from tests.vm import started

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1500)]
LIMITS = Limits(memory=640 * 1024**2, console=200_000, boot=600)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "console.log"


@pytest.fixture(scope="module")
def vm(console: Path) -> Iterator[Machine]:
    with started(console.parent, LIMITS) as made:
        made.wait_ready(600, lambda: False)
        yield made


def ask(vm: Machine, command: str, timeout: float = 120) -> str:
    """What a command prints, which must succeed."""
    return vm.run(command, timeout=timeout, check=True).text


def cards(vm: Machine) -> list[str]:
    return ask(vm, "ls /sys/class/net").split()


def test_it_is_the_host_by_name_and_by_the_clock(vm: Machine) -> None:
    assert ask(vm, "hostname") == "web"
    assert abs(int(ask(vm, "date +%s")) - time.time()) < 60
    assert ask(vm, "cat /etc/toto-said; id -u; pwd").split() == ["new", "0", "/"]


def test_a_command_has_its_own_streams_input_and_code(vm: Machine) -> None:
    result = vm.run("cat; echo no >&2; exit 7", timeout=60, data=b"in\n")
    assert (result.code, result.stdout, result.stderr) == (7, b"in\n", b"no\n")


def test_it_has_no_network_but_lo_and_no_sign_of_the_control_channel(vm: Machine) -> None:
    assert cards(vm) == ["lo"]
    assert ask(vm, "ip route show") == ""
    assert ask(vm, "readlink /proc/self/ns/net") == ask(vm, "readlink /proc/1/ns/net")
    assert ask(vm, "readlink /proc/self/ns/mnt") == ask(vm, "readlink /proc/1/ns/mnt")


def test_qemu_runs_without_privileges_and_without_network(vm: Machine) -> None:
    (qemu,) = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_our_qemu(int(path.name))]
    lines = Path(f"/proc/{qemu}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert int(status["Uid"].split()[0]) == (pwd.getpwnam("toto").pw_uid if os.geteuid() == 0 else os.getuid())
    assert int(status["CapEff"], 16) == 0 and status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
    interfaces = [line.split(":")[0].strip() for line in Path(f"/proc/{qemu}/net/dev").read_text().splitlines()[2:]]
    assert interfaces == ["lo"]
    assert not Path(f"/proc/{qemu}/root/etc/passwd").exists() and not Path(f"/proc/{qemu}/root/home").exists()


def _is_our_qemu(pid: int) -> bool:
    with contextlib.suppress(OSError):
        parent = pid
        if Path(f"/proc/{pid}/comm").read_text().startswith("qemu-system"):
            while parent > 1:
                parent = int(Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == os.getpid():
                    return True
    return False


def test_nothing_the_host_does_to_ssh_or_root_shuts_toto_out(vm: Machine) -> None:
    ask(vm, "systemctl stop ssh.service; usermod -L -s /usr/sbin/nologin root; touch /etc/nologin; rm -rf /run/sshd")
    vm.ssh.close()
    assert ask(vm, "systemctl is-active ssh.service || :") == "inactive"
    ask(vm, "usermod -s /bin/bash root; rm /etc/nologin; systemctl start ssh.service")


def mirror() -> tuple[str, int]:
    """Host and port of the first package mirror that this machine uses itself."""
    said = process.run(["apt-get", "indextargets", "--format", "$(SITE)"], timeout=60).text.split()
    if not said:
        pytest.skip("this machine has no apt sources to reach")
    where = urlsplit(said[0])
    assert where.hostname is not None
    return where.hostname, where.port or {"http": 80, "https": 443}[where.scheme]


class Listener:
    """A service of this machine, on every address, that counts who reaches it."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("0.0.0.0", 0))
        self.port = self.socket.getsockname()[1]
        self.reached: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self.socket.accept()
                self.reached.append(peer[0])
                connection.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    with made.socket:
        yield made


def test_online_reaches_the_world_and_not_the_builder_and_goes_offline_again(vm: Machine, listener: Listener) -> None:
    host, port = mirror()
    # Once with systemd-resolved; then with a plain resolv.conf, and a network manager that wants every card for itself.
    plain = "systemctl stop systemd-resolved && rm /etc/resolv.conf && echo 'nameserver 192.0.2.53' >/etc/resolv.conf"
    greedy = "printf '[Match]\\nType=ether\\n[Network]\\nDHCP=yes\\n' >/etc/systemd/network/all.network"
    for change in ("readlink /etc/resolv.conf", f"{plain} && {greedy} && systemctl start systemd-networkd"):
        ask(vm, change)
        resolv = ask(vm, "cat /etc/resolv.conf")
        vm.go_online()
        assert ask(vm, f"ip -4 -o address show scope global | grep -c ' {ADDRESS}/24 '") == "1"
        assert len(cards(vm)) == 2
        ask(vm, f"getent hosts {host}")
        ask(vm, f"timeout 30 bash -c 'exec 3<>/dev/tcp/{host}/{port}'")
        vm.go_offline()
        assert cards(vm) == ["lo"]
        assert ask(vm, "cat /etc/resolv.conf") == resolv
        assert vm.run(f"timeout 5 bash -c 'exec 3<>/dev/tcp/{host}/{port}'", timeout=60).code != 0
    vm.go_online()
    try:
        # As the worst guest would: its own loopback taken away, so that packets for 127.0.0.1 leave by the card.
        card = next(name for name in cards(vm) if name != "lo")
        ask(vm, f"sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.{card}.route_localnet=1")
        ask(vm, "ip route del local 127.0.0.0/8 dev lo table local; ip route del local 127.0.0.1 dev lo table local")
        ask(vm, f"ip route add 127.0.0.0/8 via {GATEWAY} dev {card}")
        assert "via" in ask(vm, "ip route get 127.0.0.1")
        own = [str(address) for address in own_addresses()]
        for address in sorted({"127.0.0.1", "127.0.0.2", str(GATEWAY), str(RESOLVER), *own}):
            vm.run(f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{listener.port}'", timeout=60)
        assert listener.reached == []
        assert process.run(["true"], timeout=5).code == 0
        with socket.create_connection(("127.0.0.1", listener.port), timeout=5):
            pass
        deadline = time.monotonic() + 5
        while not listener.reached:
            assert time.monotonic() < deadline, "the listener itself does not work"
            time.sleep(0.01)
    finally:
        ask(vm, "ip route del 127.0.0.0/8; ip route add local 127.0.0.0/8 dev lo table local")
        vm.go_offline()


def test_a_guest_that_fills_its_disk_still_answers(vm: Machine) -> None:
    filled = vm.run("dd if=/dev/zero of=/fill bs=1M", timeout=400)
    assert filled.code == 1 and b"No space left" in filled.stderr
    assert ask(vm, "rm /fill; echo here") == "here"


def test_a_guest_that_eats_its_memory_still_answers(vm: Machine) -> None:
    assert vm.run("perl -e 'push @x, q(x) x 2**20 while 1'", timeout=300).code not in (0, 255)
    assert "Out of memory: Killed process" in ask(vm, "dmesg")
    assert ask(vm, "echo here") == "here"


def test_a_fork_bomb_leaves_room_for_the_next_login(vm: Machine) -> None:
    vm.run("timeout -s KILL 5 sh -c 'bomb() { bomb | bomb & }; bomb' >/dev/null 2>&1", timeout=20)
    vm.ssh.close()
    answered = vm.run("echo 1 >/sys/fs/cgroup/toto-commands/cgroup.kill", timeout=200)
    assert answered.code in (0, 255, 137, -9)
    assert ask(vm, "echo here", timeout=200) == "here"


def test_a_flood_on_the_console_is_bounded(vm: Machine, console: Path) -> None:
    ask(vm, "yes 'a line of a flood that never ends' | head -c 600000 >/dev/ttyS0", timeout=300)
    assert console.stat().st_size <= LIMITS.console
    assert ask(vm, "echo here") == "here"


def test_a_run_is_stopped_soon(vm: Machine) -> None:
    began = time.monotonic()
    result = vm.run("sleep 300", timeout=300, stop=lambda: time.monotonic() - began > 0.5)
    assert result.timed_out and time.monotonic() - began < 5


def test_a_panic_under_a_command_is_told_as_the_engineers_matter(vm: Machine) -> None:
    with pytest.raises(BootFailed, match="Kernel panic"):
        vm.run("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 60", timeout=60)
