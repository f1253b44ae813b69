from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.backend import RollbackFailed
from host_tests.suite_values import Suite, TestFile
from jobs import rehearse
from jobs.machine import BootFailed
from server.core.config import Limits
from server.core.errors import ChecksFailed, Refused, TargetTrouble
from server.core.process import Result
from server.core.states import StageName
from tests.targets import Log, TinyRelease


class FakeConsole:
    def tail(self) -> str:
        return "the last words"


class FakeVm:
    """Answers as told, by the beginning of a command; frames for run-tests are made from its own command line."""

    def __init__(self, answers: dict[str, str] | None = None) -> None:
        self.name = "web"
        self.limits = Limits()
        self.console = FakeConsole()
        self.scratch = Path("/nonexistent")
        self.answers = answers or {}
        self.commands: list[str] = []
        self.failure: Exception | None = None
        self.dead: Exception | None = None
        self.network: list[str] = []

    def wait_ready(self, _seconds: float, _stopped: Callable[[], bool]) -> float:
        if self.failure is not None:
            raise self.failure
        return 16.2

    def run(self, command: str, **given: Any) -> Result:
        self.commands.append(command)
        if "run-tests" in command:
            nonce = command.split("--nonce ")[1].split()[0]
            for label in self.answers.get("tests", "").split():
                text = f"#toto:{nonce} begin {label}\nok 1 - fine\n1..1\n\n#toto:{nonce} end {label} 0\n"
                given["on_stdout"](text.encode())
            given["on_stdout"](f"#toto:{nonce} done\n".encode())
        said = next((text for start, text in self.answers.items() if command.startswith(start)), "")
        return Result(("x",), 0, said.encode(), b"", 0.1)

    def go_online(self) -> None:
        self.network.append("online")

    def go_offline(self) -> None:
        self.network.append("offline")

    def check_alive(self, *, wait: float = 0.0) -> None:
        if self.dead is not None:
            raise self.dead


def suite(*names: str) -> Suite:
    return Suite("web", tuple(TestFile(StageName.NO_INTERNET, "host", name, name, b"", True) for name in names))


STOCK = "stock/clock stock/disk stock/dpkg stock/ssh stock/units"


def test_a_boot_that_fails_shows_the_consoles_end() -> None:
    vm, log = FakeVm(), Log(StageName.BOOT)
    vm.failure = BootFailed("no SSH")
    with pytest.raises(BootFailed):
        rehearse.boot(vm, suite(), log)  # type: ignore[arg-type]
    assert b"the last words" in log.written


def test_a_boot_notes_its_seconds_and_tells_what_still_starts() -> None:
    vm, log = FakeVm({"tests": STOCK, "timeout": "starting\n", "systemctl list-jobs": "7 slow.service start\n"}), Log()
    rehearse.boot(vm, suite(), log)  # type: ignore[arg-type]
    assert log.notes == ["SSH after 16 s"]
    assert any("slow.service" in line for line in log.lines)
    assert "--stock-only" in vm.commands[-1]


def test_a_stage_runs_the_hosts_own_tests_without_the_stock_checks() -> None:
    vm = FakeVm({"tests": "10-a"})
    rehearse.no_internet(vm, suite("10-a"), Log(StageName.NO_INTERNET))  # type: ignore[arg-type]
    assert "--no-stock" in vm.commands[-1] and vm.network == ["offline"]


def test_a_test_that_never_ran_is_no_pass() -> None:
    vm = FakeVm({"tests": "10-a"})
    with pytest.raises(ChecksFailed, match="20-b"):
        rehearse.no_internet(vm, suite("10-a", "20-b"), Log(StageName.NO_INTERNET))  # type: ignore[arg-type]


def test_a_host_without_tests_is_looked_at_by_the_stock_checks() -> None:
    vm = FakeVm({"tests": STOCK})
    rehearse.with_internet(vm, suite(), Log(StageName.WITH_INTERNET))  # type: ignore[arg-type]
    assert "--stock-only" in vm.commands[-1] and vm.network == ["online"]


@pytest.mark.parametrize(
    ("raised", "dead", "wanted"),
    [
        (RollbackFailed("not as before"), None, Refused),
        (TargetTrouble("no answer"), None, TargetTrouble),
        (TargetTrouble("no answer"), BootFailed("panicked"), BootFailed),
    ],
)
def test_what_goes_wrong_in_the_upgrade_is_told_as_whose_matter_it_is(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, dead: Exception | None, wanted: type[Exception]
) -> None:
    vm = FakeVm()
    vm.dead = dead

    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(rehearse, "_enrolled", fail)
    monkeypatch.setattr(rehearse.signing, "ephemeral_keys", lambda folder: folder)
    release = TinyRelease("a" * 64, Path("/nonexistent"))
    with pytest.raises(wanted):
        rehearse.upgrade(vm, release, release, suite(), Log(StageName.UPGRADE))  # type: ignore[arg-type]
    assert vm.network == ["offline"]
