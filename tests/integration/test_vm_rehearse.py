"""The stages of a rehearsal, in order, in one VM of a real image, with two real releases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tests.suite_values import Suite, TestFile
from jobs import rehearse
from jobs.machine import Machine
from server.core.config import Limits
from server.core.errors import ChecksFailed
from server.core.states import StageName
from tests.vm import StoppableLog, started, world

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]
HEAD = '#!/bin/sh\n. "$TOTO_LIB/tap.sh"\n'


def made(stage: StageName, name: str, body: str) -> TestFile:
    text = f"{HEAD}{body}\ndone_testing\n"
    return TestFile(stage, "host", name, f"host_tests/web/{stage}/{name}", text.encode(), True)


SUITE = Suite(
    "web",
    (
        made(StageName.NO_INTERNET, "10-alone", 'is "$(ls /sys/class/net)" lo "only lo"'),
        made(StageName.NO_INTERNET, "20-tree", 'like "$(tree --version)" "^tree v" "tree is here"'),
        made(StageName.WITH_INTERNET, "10-route", 'is "$(ip route show default | wc -l)" 1 "a way out"'),
    ),
)


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with started(tmp_path_factory.mktemp("run"), Limits(boot=600)) as started_vm:
        yield started_vm


def said(log: StoppableLog) -> list[tuple[str, bool]]:
    return [(row.description, row.ok) for row in log.checks if not row.file.startswith("stock/")]


def test_boot_notes_its_time_and_runs_the_stock_checks(vm: Machine) -> None:
    log = StoppableLog(StageName.BOOT)
    rehearse.boot(vm, SUITE, log)
    assert log.notes and log.notes[0].startswith("SSH after ")
    assert {row.file for row in log.checks} == {f"stock/{name}" for name in ("clock", "disk", "dpkg", "ssh", "units")}
    assert all(row.ok for row in log.checks)


def test_no_internet_runs_the_hosts_tests_with_lo_alone(vm: Machine) -> None:
    log = StoppableLog(StageName.NO_INTERNET)
    rehearse.no_internet(vm, SUITE, log)
    assert said(log) == [("only lo", True), ("tree is here", True)]


def test_a_test_that_says_no_fails_the_stage(vm: Machine) -> None:
    wrong = Suite("web", (made(StageName.NO_INTERNET, "10-wrong", 'is 1 2 "one is two"'),))
    rehearse.bring_tests(vm, wrong, StoppableLog())
    with pytest.raises(ChecksFailed, match="one is two"):
        rehearse.no_internet(vm, wrong, StoppableLog(StageName.NO_INTERNET))
    rehearse.bring_tests(vm, SUITE, StoppableLog())


def test_a_host_without_tests_passes_by_the_stock_checks_and_says_so(vm: Machine) -> None:
    log = StoppableLog(StageName.NO_INTERNET)
    rehearse.no_internet(vm, Suite("web", ()), log)
    assert log.checks and any("no no-internet tests" in line for line in log.lines)


def test_with_internet_has_a_way_out_and_keeps_it(vm: Machine) -> None:
    log = StoppableLog(StageName.WITH_INTERNET)
    rehearse.with_internet(vm, SUITE, log)
    assert said(log) == [("a way out", True)]
    assert vm.online


def test_upgrade_goes_back_and_forward_with_the_targets_own_script(vm: Machine) -> None:
    known, log = world(), StoppableLog(StageName.UPGRADE)
    rehearse.upgrade(vm, known.new, known.old, SUITE, log)
    assert not vm.online
    assert any("tree is removed" in line for line in log.lines)
    assert any("tree:" in line and "is added" in line for line in log.lines)
    assert said(log) == [("only lo", True), ("tree is here", True)]
    assert vm.run("cat /etc/toto-said", timeout=60).text == "new"
    current = vm.run("cat /var/lib/toto/current", timeout=60).text.split()
    assert current[0] == known.new.id
    numbers = [row.number for row in log.checks if row.depth == 0]
    assert numbers == list(range(1, len(numbers) + 1))
    assert not Path(vm.scratch / "release-keys").is_relative_to(known.config.data)
