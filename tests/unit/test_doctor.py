"""`toto doctor` says what is lacking, and how to get it."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from jobs.acceleration import Acceleration
from server.commands import doctor
from server.core import process
from server.core.config import Config
from server.core.errors import ToolMissing


@pytest.fixture
def machine(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A machine that has everything, as far as doctor can see."""
    monkeypatch.setattr(process, "tool", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor, "acceleration", lambda _config: Acceleration("kvm", "a guest ran"))
    monkeypatch.setattr(doctor, "_listed", lambda _file, _name: True)
    monkeypatch.setattr(doctor.shutil, "which", lambda name, path: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor, "ROOM", 0)
    return Config(data=open_folder / "data", redis="")


def told(config: Config, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = doctor.doctor(config, Namespace(json=True))
    return code, {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}


def test_nothing_is_lacking(machine: Config, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(machine, capsys)
    assert code == 0
    assert all(finding["ok"] is not False for finding in found.values())
    assert doctor.doctor(machine, Namespace(json=False)) == 0
    assert "nothing is lacking" in capsys.readouterr().out


def test_a_missing_program_comes_with_its_package(
    machine: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tool(name: str) -> str:
        if name == "bwrap":
            raise ToolMissing("the program bwrap is not installed")
        return f"/usr/bin/{name}"

    monkeypatch.setattr(process, "tool", tool)
    code, found = told(machine, capsys)
    assert code == 1
    assert found["bwrap"] == {
        "what": "bwrap", "ok": False, "found": "missing: its sandbox", "mend": "apt-get install bubblewrap"
    }  # fmt: skip
    doctor.doctor(machine, Namespace(json=False))
    assert "1 lacking" in capsys.readouterr().out


def test_no_redis(machine: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda _name, path: None)
    code, found = told(machine, capsys)
    assert (code, found["Redis"]["mend"]) == (1, "apt-get install redis-server")


def test_a_redis_of_their_own_that_does_not_answer(machine: Config, capsys: pytest.CaptureFixture[str]) -> None:
    config = Config(data=machine.data, redis="redis://127.0.0.1:1/0")
    code, found = told(config, capsys)
    assert (code, found["Redis"]["ok"]) == (1, False)


def test_emulation_is_a_remark_not_a_fault(
    machine: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "acceleration", lambda _config: Acceleration("tcg", "there is no /dev/kvm"))
    code, found = told(machine, capsys)
    assert (code, found["acceleration"]["ok"]) == (0, None)
    assert "there is no /dev/kvm" in found["acceleration"]["found"]


def test_no_qemu_at_all(machine: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def acceleration(_config: Config) -> Acceleration:
        raise ToolMissing("the program qemu-system-x86_64 is not installed", mend="install it")

    monkeypatch.setattr(doctor, "acceleration", acceleration)
    code, found = told(machine, capsys)
    assert (code, found["acceleration"]["mend"]) == (1, "install it")


def test_no_subordinate_ids(
    machine: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(doctor, "whoami", lambda: "ada")
    monkeypatch.setattr(doctor, "_listed", lambda _file, _name: False)
    code, found = told(machine, capsys)
    assert code == 1
    assert found["subordinate ids"]["mend"].startswith("usermod --add-subuids")
    assert found["subordinate ids"]["mend"].endswith("ada")


def test_ids_are_looked_up_by_the_whole_name(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("ada2:100000:65536\n")
    assert not doctor._listed(tmp_path / "subuid", "ada")
    assert doctor._listed(tmp_path / "subuid", "ada2")
    assert not doctor._listed(tmp_path / "nil", "ada")


def test_a_small_disk(machine: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOM", 1 << 60)
    code, found = told(machine, capsys)
    assert (code, found["disk"]["ok"]) == (1, False)
