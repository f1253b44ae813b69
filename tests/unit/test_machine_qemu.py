from __future__ import annotations

from pathlib import Path

import pytest

from jobs.acceleration import Acceleration
from jobs.machine_qemu import Descriptors, kernel_line, machine_argv
from server.core.config import Limits

FILES = Descriptors(disk=3, overlay=4, kernel=5, initrd=None, console=6, monitor=7)


def argv(kind: str = "tcg", files: Descriptors = FILES) -> list[str]:
    limits = Limits(memory=512 * 1024**2, cpus=3)
    door = Path("/x/in/door")
    return machine_argv("/usr/bin/qemu", "web", "/dev/nvme0n1", limits, Acceleration(kind, ""), files, door)


def after(said: list[str], option: str) -> list[str]:
    return [said[at + 1] for at, word in enumerate(said) if word == option]


def test_the_sandbox_has_no_network_and_no_privilege() -> None:
    said = argv()
    sandbox = said[: said.index("--")]
    for option in ("--unshare-net", "--unshare-user", "--unshare-pid", "--die-with-parent", "--new-session"):
        assert option in sandbox
    assert after(sandbox, "--cap-drop") == ["ALL"]
    assert after(sandbox, "--bind") == ["/x/in"]
    assert "--proc" not in sandbox


def test_the_guest_has_no_way_but_the_control_channel() -> None:
    said = argv()
    assert [net for net in after(said, "-netdev") if "restrict=on" not in net] == []
    assert after(said, "-sandbox")[0].startswith("on,")
    assert "-no-reboot" in said


def test_limits_become_sizes() -> None:
    said = argv()
    assert after(said, "-m") == ["512M"] and after(said, "-smp") == ["3"]


@pytest.mark.parametrize(("kind", "devices"), [("tcg", []), ("kvm", ["/dev/kvm"])])
def test_the_kvm_device_is_there_only_where_it_is_used(kind: str, devices: list[str]) -> None:
    assert after(argv(kind), "--dev-bind") == devices
    assert after(argv(kind), "-accel")[0].startswith(kind)


def test_an_initrd_is_given_where_there_is_one() -> None:
    assert after(argv(), "-initrd") == []
    with_initrd = Descriptors(disk=3, overlay=4, kernel=5, initrd=9, console=6, monitor=7)
    assert after(argv(files=with_initrd), "-initrd") == ["/tmp/initrd"]
    assert "9" in after(argv(files=with_initrd), "--ro-bind-data")
    assert with_initrd.all == (3, 4, 5, 9, 6, 7)


def test_the_kernel_line_names_the_host_and_ends_at_a_panic() -> None:
    line = kernel_line("web", "/dev/nvme0n1").split()
    assert {"root=/dev/nvme0n1", "panic=-1", "systemd.hostname=web", "toto.rehearsal"} <= set(line)
