from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jobs import acceleration as it
from server.core import process
from server.core.config import Config


class FakeQemu:
    """A program in QEMU's place that notes how it was called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.called = folder / "called"
        self.path = folder / f"qemu-system-{os.uname().machine}"
        monkeypatch.setattr(process, "PATH", f"{folder}:{process.PATH}")
        monkeypatch.setattr(it, "DEVICE", folder / "kvm")
        (folder / "kvm").touch()
        self.does("exit 0")

    def does(self, body: str) -> None:
        self.path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{self.called}\n{body}\n')
        self.path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.called.read_text().splitlines() if self.called.exists() else []


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQemu:
    folder = tmp_path / "bin"
    folder.mkdir()
    return FakeQemu(folder, monkeypatch)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    (tmp_path / "vmlinuz").touch()
    return tmp_path / "vmlinuz"


def test_a_guest_that_ends_under_kvm_is_kvm(config: Config, qemu: FakeQemu, kernel: Path) -> None:
    found = it.acceleration(config, kernel)
    assert found.kind == "kvm"
    assert "-accel kvm" in qemu.calls[0] and "panic=-1" in qemu.calls[0] and "-no-reboot" in qemu.calls[0]
    assert found.arguments[:2] == ("-accel", "kvm")


def test_a_guest_that_hangs_under_kvm_is_emulated(
    config: Config, qemu: FakeQemu, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(it, "TRY_SECONDS", 0.3)
    qemu.does("exec sleep 60")
    began = time.monotonic()
    found = it.acceleration(config, kernel)
    assert found.kind == "tcg" and "did not run" in found.reason
    assert found.arguments[:2] == ("-accel", "tcg,thread=multi")
    assert time.monotonic() - began < 5


def test_a_qemu_that_fails_under_kvm_is_emulated(config: Config, qemu: FakeQemu, kernel: Path) -> None:
    qemu.does("exit 1")
    assert it.acceleration(config, kernel).kind == "tcg"


def test_it_is_tried_once_for_each_boot(
    config: Config, qemu: FakeQemu, kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert it.acceleration(config, kernel) == it.acceleration(config, kernel)
    assert len(qemu.calls) == 1
    (tmp_path / "boot_id").write_text("another-boot\n")
    monkeypatch.setattr(it, "BOOT_ID", tmp_path / "boot_id")
    it.acceleration(config, kernel)
    assert len(qemu.calls) == 2


def test_a_damaged_memory_is_tried_again(config: Config, qemu: FakeQemu, kernel: Path) -> None:
    memory = config.folder("cache", "acceleration.json")
    memory.parent.mkdir(parents=True)
    memory.write_text("{")
    assert it.acceleration(config, kernel).kind == "kvm"
    assert len(qemu.calls) == 1


def test_without_a_kernel_a_boot_sector_is_tried_and_a_kernel_later(
    config: Config, qemu: FakeQemu, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(it, "_own_kernel", lambda: None)
    qemu.does(f"exit {it.SECTOR_ENDED}")
    assert it.acceleration(config).kind == "kvm"
    assert "isa-debug-exit" in qemu.calls[0]
    assert it.acceleration(config).kind == "kvm"
    assert len(qemu.calls) == 1
    assert it.acceleration(config, kernel).kind == "tcg"
    assert "-kernel" in qemu.calls[1]


def test_no_device_is_emulated_and_says_what_to_do(config: Config, qemu: FakeQemu, kernel: Path) -> None:
    it.DEVICE.unlink()
    found = it.acceleration(config, kernel)
    assert found.kind == "tcg" and "virtualization" in found.reason
    assert qemu.calls == []


def test_a_device_that_may_not_be_opened_names_the_group(
    config: Config, qemu: FakeQemu, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(it.os, "open", refuse)
        reason = it.obstacle_to(it.DEVICE)
    assert reason is not None and "usermod -aG kvm" in reason
