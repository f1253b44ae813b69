"""VMs that do not come up, or whose launcher goes: each ends in the right error, and nothing is left of any."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.guest import UNIT
from jobs.machine import BootFailed
from jobs.machine_folder import PLACE, PREFIX, sweep
from server.core.config import Limits
from server.core.errors import VmTrouble
from tests.vm import processes_with, started, world

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]
NAME = f"t{os.getpid()}"
"""Of the VMs here: nobody else's processes are counted."""


def nothing_left(name: str) -> None:
    """No process of the VM, whose host name is `name`, remains."""
    deadline = time.monotonic() + 5
    while left := processes_with(f"systemd.hostname={name}"):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def folders() -> set[Path]:
    return set(PLACE.glob(f"{PREFIX}*"))


def test_a_kernel_panic_is_the_engineers_matter(tmp_path: Path) -> None:
    with (
        pytest.raises(BootFailed, match="the VM's kernel panicked: Kernel panic - not syncing"),
        started(tmp_path, name=NAME, kernel_adds="init=/bin/false") as vm,
    ):
        vm.wait_ready(300, lambda: False)
    nothing_left(NAME)
    assert b"Kernel panic" in (tmp_path / "console.log").read_bytes()


def test_a_machine_that_switches_itself_off_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(BootFailed, match="switched itself off"),
        started(tmp_path, name=NAME, kernel_adds=f"systemd.mask={UNIT} systemd.unit=poweroff.target") as vm,
    ):
        vm.wait_ready(300, lambda: False)


def test_ssh_that_never_comes_ends_at_the_deadline_with_the_last_words(tmp_path: Path) -> None:
    before = folders()
    with (
        pytest.raises(BootFailed, match="SSH did not answer within 6 s; the last line on the VM's console") as raised,
        started(tmp_path, name=NAME, kernel_adds="init=/bin/sh") as vm,
    ):
        vm.wait_ready(6, lambda: False)
        pytest.fail("it answered")
    assert "timeouts.boot" in raised.value.mend
    nothing_left(NAME)
    assert folders() == before
    assert [path.name for path in tmp_path.iterdir()] == ["console.log"]


def test_a_cancel_ends_the_boot_within_five_seconds(tmp_path: Path) -> None:
    asked = time.monotonic() + 1.0
    with pytest.raises(VmTrouble, match="cancelled"), started(tmp_path, name=NAME) as vm:
        vm.wait_ready(300, lambda: time.monotonic() > asked)
    nothing_left(NAME)
    assert time.monotonic() - asked < 5


def test_a_qemu_that_cannot_start_is_the_operators_matter(tmp_path: Path) -> None:
    limits = Limits(cpus=100_000)
    with pytest.raises(VmTrouble, match="could not be started") as raised, started(tmp_path, limits, name=NAME):
        pytest.fail("it started")
    assert "toto doctor" in raised.value.mend
    nothing_left(NAME)


LAUNCH = """
import sys
from dataclasses import replace
from pathlib import Path
from jobs.images.debian import Image
from jobs.machine import machine
from server.core.config import Config, Limits
from tests.vm import StoppableLog
data, disk, kernel, root, folder, name = sys.argv[1:]
image = Image(Path(disk), Path(kernel), None, root)
with machine(Config(Path(data)), image, name, Limits(), Path(folder), StoppableLog()) as vm:
    print("up", flush=True)
    vm.wait_ready(300, lambda: False)
"""


def test_a_launcher_killed_with_9_leaves_nothing(tmp_path: Path) -> None:
    made, before = world(), folders()
    words = [made.config.data, made.image.disk, made.image.kernel, made.image.root, tmp_path, NAME]
    with subprocess.Popen([sys.executable, "-c", LAUNCH, *words], stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == "up\n"
        assert processes_with(f"systemd.hostname={NAME}")
        left = folders() - before
        signs = [f"systemd.hostname={NAME}", *map(str, left)]
        os.kill(launcher.pid, signal.SIGKILL)
        launcher.wait(10)
    nothing_left(NAME)
    assert [line for sign in signs for line in processes_with(sign)] == []
    assert [path.name for path in tmp_path.iterdir()] == ["console.log"]
    assert left and left <= set(sweep())
